"""A watching process that kills itself with SIGKILL at a named moment, the COUNTth time it comes there.

    python -m tests.backups.dying_watch MOMENT COUNT --database … --store … --socket …

Every moment is reached again and again while somebody writes, but for those of the beginning.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backups.log import watch
from backups.log.tail import Tail
from backups.stores.directory import DirectoryStore

BEGINNING = ("begin half written", "begin named", "base due", "base made")
AGAIN = (
    "segment half written",
    "segment written",
    "segment named",
    "writers stopped",
    "rest shipped",
    "let go",
    "copied",
    "writers going",
    "marked",
    "held",
)


class Death:
    """Dies the COUNTth time the moment is reached."""

    def __init__(self, moment: str, count: int) -> None:
        self._moment = moment
        self._left = count

    def at(self, moment: str) -> None:
        if moment == self._moment:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(moment: str, count: str, *arguments: str) -> int:
    death = Death(moment, int(count))
    _in_the_store(death)
    _in_the_tail(death)
    make = watch._make_base

    def make_base(command: list[str]) -> None:
        death.at("base due")
        make(command)
        death.at("base made")

    watch._make_base = make_base
    return watch.main(list(arguments))


def _in_the_store(death: Death) -> None:
    create, publish = DirectoryStore.create, DirectoryStore._publish

    def what(name: str) -> str:
        if not name.startswith("log/"):
            return "other"
        return "begin" if name.endswith("begin.json") else "segment"

    def halves(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        content = b"".join(chunks)
        yield content[: len(content) // 2]
        death.at(f"{what(name)} half written")
        yield content[len(content) // 2 :]

    def dying_create(store: DirectoryStore, name: str, chunks: Iterable[bytes]) -> int:
        return create(store, name, halves(name, chunks))

    def dying_publish(store: DirectoryStore, staged: Path, target: Path) -> None:
        name = target.relative_to(store.address).as_posix()
        death.at(f"{what(name)} written")
        publish(store, staged, target)
        death.at(f"{what(name)} named")

    for name, method in {"create": dying_create, "_publish": dying_publish}.items():
        setattr(DirectoryStore, name, method)


def _in_the_tail(death: Death) -> None:
    stopped, checkpoint = Tail._writers_stopped, Tail.checkpoint

    @contextmanager
    def writers_stopped(tail: Tail, patience_s: float) -> Iterator[None]:
        with stopped(tail, patience_s):
            death.at("writers stopped")
            yield
            death.at("copied")
        death.at("writers going")

    def dying_checkpoint(tail: Tail, rest: Callable[[], None], patience_s: float) -> bool:
        def shipped() -> None:
            rest()
            death.at("rest shipped")

        return checkpoint(tail, shipped, patience_s)

    def dying(moment: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(tail: Tail, *arguments: Any) -> Any:
            result = method(tail, *arguments)
            death.at(moment)
            return result

        return call

    patched: dict[str, Callable[..., Any]] = {
        "_writers_stopped": writers_stopped,
        "checkpoint": dying_checkpoint,
        "let_go": dying("let go", Tail.let_go),
        "_mark": dying("marked", Tail._mark),
        "hold": dying("held", Tail.hold),
    }
    for name, method in patched.items():
        setattr(Tail, name, method)


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    os._exit(code)
