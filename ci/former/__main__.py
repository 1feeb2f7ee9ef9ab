"""The older version's supervisor."""

import sys

from system import supervisor

if __name__ == "__main__":
    sys.exit(supervisor.main({"writer": "ci.former.writer", "http": "ci.former.server"}))
