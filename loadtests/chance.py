"""The chance of a virtual user: mulberry32 seeded with the FNV-1a hash of a text, the same in Python, JavaScript and Groovy.

Every load tool draws from it in the same order, so that user 17 of seed 42 does the same whoever plays it.
"""

from __future__ import annotations

from collections.abc import Callable

Generator = Callable[[], float]
"""Each call gives the next number from 0 to below 1."""

_BITS = 0xFFFFFFFF


def generator(text: str) -> Generator:
    """The stream of numbers that begins at `text`; `generator` of k6.js gives the same ones."""
    state = 2166136261
    for character in text:
        state = ((state ^ ord(character)) * 16777619) & _BITS

    def draw() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) & _BITS
        mixed = ((state ^ (state >> 15)) * (state | 1)) & _BITS
        mixed ^= (mixed + (mixed ^ (mixed >> 7)) * (mixed | 61)) & _BITS
        return (mixed ^ (mixed >> 14)) / 4294967296

    return draw


def below(draw: Generator, count: int) -> int:
    """A whole number from 0 to below `count`."""
    return int(draw() * count)
