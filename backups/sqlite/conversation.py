"""Talking with an agent process: a request to its stdin, answers from its stdout, and blocks of bytes over a pipe.

The agent is killed when the block that it was started for ends, or the deadline passes, whatever it is doing then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase, RawIOBase

from backups.engine import BLOCKS_GOOD
from backups.errors import BackupError, Busy

LENGTH = struct.Struct("<I")
"""What comes before each block; 0 ends them."""
_PIPE_BYTES = 1 << 20


class Conversation:
    """A running agent. `what` begins the sentence that says that it failed."""

    def __init__(
        self, process: subprocess.Popen[bytes], blocks: RawIOBase | BufferedIOBase | None, what: str, deadline_s: float
    ) -> None:
        self._process = process
        self._blocks = blocks
        self._what = what
        self._deadline_s = deadline_s
        self._late = False

    def give_up(self) -> None:
        """The deadline has passed."""
        self._late = True
        self._process.kill()

    def ask(self, request: bytes) -> None:
        """Send the one request."""
        assert self._process.stdin is not None
        # An agent that is gone already says so when it is listened to. Nothing is left in a buffer that closing would send.
        with contextlib.suppress(BrokenPipeError):
            left = memoryview(request + b"\n")
            while left:
                left = left[os.write(self._process.stdin.fileno(), left) :]

    def answer(self) -> bytes:
        """The next answer. Raises Busy after the deadline, BackupError when the agent has ended without one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        return line

    def blocks(self) -> Iterator[memoryview]:
        """The blocks, until the agent says that these were all, or ends them without a word: its answer then says why.

        A block is good until `BLOCKS_GOOD` more were asked for.
        """
        length = bytearray(LENGTH.size)
        buffers: deque[bytearray] = deque()
        while self._fill(memoryview(length)):
            (size_bytes,) = LENGTH.unpack(length)
            if size_bytes == 0:
                return
            buffer = buffers.popleft() if len(buffers) > BLOCKS_GOOD else bytearray()
            if len(buffer) < size_bytes:
                buffer = bytearray(size_bytes)
            buffers.append(buffer)
            block = memoryview(buffer)[:size_bytes]
            if not self._fill(block):
                return
            yield block

    def _fill(self, into: memoryview) -> bool:
        """Whether so many bytes came before the pipe ended."""
        assert self._blocks is not None
        while into:
            count = self._blocks.readinto(into)
            if not count:
                return False
            into = into[count:]
        return True

    def _ended(self) -> BackupError:
        code = self._process.wait()
        if self._late:
            return Busy(f"{self._what} took longer than {self._deadline_s:g} s and was given up.")
        return BackupError(f"{self._what} failed: its process ended with code {code}.")


@contextmanager
def talk(module: str, request: Callable[[int], bytes], what: str, deadline_s: float) -> Iterator[Conversation]:
    """Start the module as an agent, and ask it what `request` makes of the number of its pipe for blocks."""
    receiving, sending = os.pipe()
    with open(receiving, "rb", buffering=0) as blocks:  # noqa: PTH123 - it is a descriptor
        with contextlib.suppress(PermissionError):  # Somebody without privileges may have all the pipes he is allowed.
            fcntl.fcntl(sending, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            process = _started(module, sending)
        finally:
            os.close(sending)
        with process:
            conversation = Conversation(process, blocks, what, deadline_s)
            timer = threading.Timer(deadline_s, conversation.give_up)
            timer.start()
            try:
                conversation.ask(request(sending))
                yield conversation
            finally:
                timer.cancel()
                process.kill()


def _started(module: str, pipe: int) -> subprocess.Popen[bytes]:
    # -P: a directory called `backups` where we happen to stand is not the package. A group of its own: Ctrl-C is for us,
    # and ends the agent through us.
    command = [sys.executable, "-P", "-m", module]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(pipe,), process_group=0)
