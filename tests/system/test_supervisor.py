"""Companions of the service: started with it, restarted like its own, ended last, and never its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from system.supervisor import companion
from tests.backups.databases import ROOT, wait_until

CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (say("ended"), os._exit(0)))
def say(what):
    with open(os.environ["SAID"], "a") as file:
        file.write(f"{what} {NAME}\\n")
NAME = __name__ if __name__ != "__main__" else __spec__.name
say("began")
CODE
while True:
    time.sleep(1)
"""


class Service:
    def __init__(self, root: Path, companion_does: str) -> None:
        self.said = root / "said"
        self.said.touch()
        for name, does in {"writing": "", "answering": "", "beside": companion_does}.items():
            (root / f"{name}.py").write_text(CHILD.replace("CODE", does), "utf-8")
        starting = (
            "import sys; from system import supervisor; "
            'sys.exit(supervisor.main({"writer": "writing", "http": "answering"}))'
        )
        command = [sys.executable, "-c", starting, "--runtime", str(root / "run"), "--child", "watch=beside"]
        environment = os.environ | {"SAID": str(self.said), "PYTHONPATH": f"{root}:{ROOT}"}
        self.runtime = root / "run"
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def lines(self) -> list[str]:
        return self.said.read_text("utf-8").splitlines()

    def until(self, line: str, times: int = 1) -> None:
        wait_until(lambda: self.lines().count(line) >= times, f"{line} {times} times")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    started: list[Service] = []

    def service(companion_does: str) -> Service:
        started.append(Service(tmp_path, companion_does))
        return started[-1]

    yield service
    for one in started:
        one.process.terminate()
        one.process.wait(30)


pytestmark = pytest.mark.processes


def test_a_companion_is_started_restarted_and_ended_last(start: Callable[[str], Service]) -> None:
    service = start("")
    for name in ("writing", "answering", "beside"):
        service.until(f"began {name}")
    wait_until((service.runtime / "processes.json").exists, "the list of processes")
    known = json.loads((service.runtime / "processes.json").read_text("ascii"))
    assert sorted(known) == ["http", "supervisor", "watch", "writer"]
    os.kill(int(known["watch"]["pid"]), signal.SIGKILL)
    service.until("began beside", 2)
    service.process.terminate()
    assert service.process.wait(20) == 0
    assert [line for line in service.lines() if line.startswith("ended")] == [
        "ended answering",
        "ended writing",
        "ended beside",
    ]


def test_a_companion_that_cannot_serve_does_not_end_the_service(start: Callable[[str], Service]) -> None:
    service = start("sys.exit(2)")
    service.until("began beside", 3)
    assert service.process.poll() is None
    service.process.terminate()
    assert service.process.wait(20) == 0


@pytest.mark.parametrize(
    "text", ["watch", "watch=", "=backups.log.watch", "writer=backups.log.watch", "a b=c", "x=y z", "x=a..b"]
)
def test_what_names_no_companion_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text.replace(".", r"\.")):
        companion(text)


def test_a_companion_has_a_name_and_a_module() -> None:
    assert companion("watch=backups.log.watch") == ("watch", "backups.log.watch")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("system.supervisor", ("sqlalchemy", "fastapi", "msgspec")),
        ("system.writer", ("fastapi", "starlette", "jinja2")),
    ],
)
def test_a_process_imports_nothing_that_only_another_one_needs(module: str, heavy: tuple[str, ...]) -> None:
    """Whoever comes back after a crash is waited for."""
    program = f"import sys, {module}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
