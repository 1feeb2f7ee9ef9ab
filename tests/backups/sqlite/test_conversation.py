"""Talking with agents that say too little, too late, or nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backups.errors import BackupError, Busy
from backups.sqlite import conversation
from backups.sqlite.conversation import LENGTH, Conversation


@contextmanager
def agent(script: str, blocks: bytes = b"") -> Iterator[Conversation]:
    """A conversation with a process that runs the script; `blocks` is what came through its pipe."""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Conversation(process, io.BytesIO(blocks), "The work", 7.0)
        process.kill()


def test_answers_come_line_by_line() -> None:
    with agent("print(input()); print('two')") as talk:
        talk.ask(b"one")
        assert [talk.answer(), talk.answer()] == [b"one\n", b"two\n"]


def test_an_agent_that_ends_without_an_answer_failed() -> None:
    with agent("raise SystemExit(3)") as talk:
        talk.ask(b"one")
        with pytest.raises(BackupError, match=r"^The work failed: its process ended with code 3\.$"):
            talk.answer()


def test_an_agent_that_ended_before_it_was_asked_failed() -> None:
    with agent("") as talk:
        talk._process.wait()
        talk.ask(b"one" * 100_000)
        with pytest.raises(BackupError, match="ended with code 0"):
            talk.answer()


def test_half_an_answer_is_none() -> None:
    with agent("print('{\"half', end='')") as talk:
        with pytest.raises(BackupError, match="ended with code 0"):
            talk.answer()


def test_an_agent_given_up_was_too_late() -> None:
    with agent("input()") as talk:
        talk.give_up()
        with pytest.raises(Busy, match=r"^The work took longer than 7 s and was given up\.$"):
            talk.answer()


@pytest.mark.parametrize(
    ("sent", "blocks"),
    [
        (b"", []),
        (LENGTH.pack(0), []),
        (LENGTH.pack(3) + b"one" + LENGTH.pack(0) + b"and never looked at", [b"one"]),
        (LENGTH.pack(3) + b"one" + LENGTH.pack(3) + b"two", [b"one", b"two"]),
        (LENGTH.pack(3) + b"one" + LENGTH.pack(3) + b"tw", [b"one"]),
        (LENGTH.pack(3) + b"one" + b"\0\0", [b"one"]),
    ],
)
def test_only_whole_blocks_come_out_of_the_pipe(sent: bytes, blocks: list[bytes]) -> None:
    with agent("", sent) as talk:
        assert list(talk.blocks()) == blocks


def test_a_block_that_is_left_ends_the_agent() -> None:
    with conversation.talk("this", lambda _: b"", "The work", 60.0) as talk:
        process = talk._process
    assert process.returncode is not None


def test_a_module_that_does_not_exist_is_an_agent_that_ends() -> None:
    with conversation.talk("backups.no_such_agent", lambda _: b"{}", "The work", 60.0) as talk:
        with pytest.raises(BackupError, match="ended with code 1"):
            talk.answer()
