"""The stand-in's reader, under a name that the supervisor can start."""

import sys

from tests.chaos.stand_in import main

if __name__ == "__main__":
    sys.exit(main("http"))
