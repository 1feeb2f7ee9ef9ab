"""Frames between the processes survive any cutting of the stream."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.jobs import Operation
from system.wire import Answer, Ask, Frames, answer, ask, pack

OPERATION = Operation("r.1", "r", 7, "f", 1)


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(min_value=1, max_value=40))
def test_frames_come_back_whole_however_the_stream_is_cut(bodies: list[bytes], piece: int) -> None:
    stream = b"".join(pack(Answer(number, body=body)) for number, body in enumerate(bodies))
    frames = Frames()
    got = [frame for at in range(0, len(stream), piece) for frame in frames.feed(stream[at : at + piece])]
    assert [answer(frame).body for frame in got] == bodies


def test_an_ask_keeps_its_operation_and_its_arguments() -> None:
    sent = Ask(3, "user.sign_up", ("ann", 5, None), OPERATION, 12.5)
    (frame,) = Frames().feed(pack(sent))
    assert ask(frame) == sent


def test_a_frame_that_is_no_ask_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        ask(b"\xc1")
