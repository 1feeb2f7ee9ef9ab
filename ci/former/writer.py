"""The older version's writer."""

import sys

from ci import former
from system import writer

if __name__ == "__main__":
    former.forget()
    sys.exit(writer.main())
