"""A runner that injects one fault and waits to be killed: `python -m tests.chaos.runner NAME PARAMETERS DIRECTORY`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from chaos.fault import make
from chaos.target import Target


def main(name: str, parameters: str, directory: str) -> None:
    with make(name, **json.loads(parameters)).inject(Target.at(Path(directory))) as injection:
        while injection.proof is None:
            time.sleep(0.01)
        print(injection.proof.observed, flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
