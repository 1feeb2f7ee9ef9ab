"""Chains as tables: what lies where, on indexes written out literally."""

from __future__ import annotations

from array import array

import msgspec
import pytest

from backups.errors import Damaged
from backups.format import chain, units
from backups.format.chain import Link, Table
from backups.format.index import Chunk, Index
from backups.format.manifest import Manifest
from tests.backups.test_plan import NEW

KEY = bytes(32)
MODEL = NEW.manifest
assert MODEL is not None


def hashes(text: str) -> bytes:
    """The hash of a unit is, here, its letter."""
    return b"".join(letter.encode() * units.HASH_BYTES for letter in text)


def link(number: int, image: str, stored: dict[int, str], parent: str | None = None) -> Link:
    """A link whose image is the letters of `image`, of which it stores those."""
    assert MODEL is not None
    numbers = range(len(image)) if parent is None else array("I", stored)
    manifest = msgspec.structs.replace(
        MODEL,
        id=f"b{number}",
        parent=parent,
        chain_length=number,
        units=len(image),
        stored_units=len(stored),
        root=units.root_of(hashes(image), KEY),
    )
    return Link(manifest, Index(numbers, hashes("".join(stored.values())), (Chunk(0, 0, 10),)))


FULL = link(0, "abcd", {0: "a", 1: "b", 2: "c", 3: "d"})
CHANGED = link(1, "aBcdE", {1: "B", 4: "E"}, "b0")


def test_the_latest_link_that_stores_a_unit_gives_it() -> None:
    table = chain.overlay([FULL, CHANGED], KEY)
    assert [table.stored_by[unit] for unit in range(table.units)] == [0, 1, 0, 0, 1]
    assert list(table.positions) == [0, 0, 2, 3, 1]
    assert table.hash_of(1) == hashes("B")


def test_only_units_of_the_image_itself_are_live_in_a_chunk() -> None:
    table = chain.overlay([FULL, CHANGED], KEY)
    assert table.live(0, 0) == [(0, 0), (2, 2), (3, 3)]
    assert table.live(1, 0) == [(0, 1), (1, 4)]


def test_an_image_that_shrank_and_grew_has_nothing_of_before() -> None:
    shrunk = link(1, "ab", {}, "b0")
    grown = link(2, "abXY", {2: "X", 3: "Y"}, "b1")
    table = chain.overlay([FULL, shrunk, grown], KEY)
    assert list(table.stored_by) == [0, 0, 2, 2]
    forgetful = link(2, "abXd", {2: "X"}, "b1")
    with pytest.raises(Damaged, match="Unit 3 of b2 is stored in no link of its chain"):
        chain.overlay([FULL, shrunk, forgetful], KEY)


def test_links_that_do_not_add_up_to_the_root_are_refused() -> None:
    other = link(1, "aBcdE", {1: "?", 4: "E"}, "b0")
    with pytest.raises(Damaged, match="does not add up to the image"):
        chain.overlay([FULL, other], KEY)


def test_an_image_without_changes_adds_nothing() -> None:
    same = link(1, "abcd", {}, "b0")
    table: Table = chain.overlay([FULL, same], KEY)
    assert bytes(table.hashes) == hashes("abcd")


def known(*links: Link) -> dict[str, Manifest]:
    return {link.manifest.id: link.manifest for link in links}


def test_a_chain_is_followed_from_its_end_to_its_full_backup() -> None:
    assert [link.id for link in chain.manifests_of("b1", known(FULL, CHANGED))] == ["b0", "b1"]


def test_a_missing_parent_is_named() -> None:
    with pytest.raises(Damaged, match=r"^Its parent b0 is missing\.$"):
        chain.manifests_of("b1", known(CHANGED))


def test_a_chain_in_a_circle_or_out_of_step_is_refused() -> None:
    circle = link(1, "a", {}, "b1")
    with pytest.raises(Damaged, match="longer than 24 links"):
        chain.manifests_of("b1", known(circle))
    second = link(2, "abcd", {}, "b0")
    with pytest.raises(Damaged, match="b2 is not link 1 of it"):
        chain.manifests_of("b2", known(FULL, second))


def native(number: int, parent: str) -> Manifest:
    return msgspec.structs.replace(link(number, "xy", {0: "x", 1: "y"}, parent).manifest, native=True)


def test_a_native_increment_is_an_image_of_its_own() -> None:
    laid = {**known(FULL, CHANGED), "b2": native(2, "b1"), "b3": native(3, "b2")}
    links = chain.manifests_of("b3", laid)
    assert [[one.id for one in image] for image in chain.images_of(links)] == [["b0", "b1"], ["b2"], ["b3"]]
    assert [[one.id for one in image] for image in chain.images_of(links[:2])] == [["b0", "b1"]]


def test_units_laid_over_a_native_increment_are_refused() -> None:
    laid = {**known(FULL, link(2, "ab", {0: "a"}, "b1")), "b1": native(1, "b0")}
    with pytest.raises(Damaged, match="b2 has units laid over an increment of a server's"):
        chain.manifests_of("b2", laid)
