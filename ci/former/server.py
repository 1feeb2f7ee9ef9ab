"""The older version's HTTP process."""

import sys

from ci import former
from system import server

if __name__ == "__main__":
    former.forget()
    sys.exit(server.main())
