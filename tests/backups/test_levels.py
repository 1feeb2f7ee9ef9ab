"""The levels of verification: each sees what the ones below cannot, and none sees what is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from backups.errors import UsageError
from backups.format import verification
from backups.format.verification import Verification
from backups.keeping import catalogue
from backups.verify import verify
from tests import soak
from tests.backups import databases
from tests.backups.house import Chain

pytestmark = pytest.mark.processes


def look(level: int, ok: bool, unseen: tuple[str, ...] = ()) -> Verification:
    findings = () if ok else (f"Bad at {level}.",)
    return Verification(
        backup="b",
        level=level,
        ok=ok,
        findings=findings,
        unseen=unseen,
        at="noon",
        seconds=0,
        read_bytes=0,
        host="h",
    )


@pytest.mark.parametrize("level", range(5))
def test_a_good_chain_is_good_at_every_level_and_says_how_far_it_was_looked_at(chain: Chain, level: int) -> None:
    outcome = verify(chain.store, level=level, seed=7)
    assert (outcome.ok, outcome.level, outcome.unseen, outcome.seed) == (True, level, (), 7)
    entry = catalogue.read(chain.store).find(outcome.backup)
    assert entry.verifications == (outcome,)
    assert (entry.level, entry.state) == (level, "verified" if level >= 3 else "complete")
    stored = sum(link.stored_bytes for link in chain.links)
    assert outcome.read_bytes == (stored if level >= 2 else 0)
    assert (outcome.content.keys() == chain.states[2].keys()) == (level == 4)


def _forged(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"rows":20', b'"rows":21'))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flipped(path: Path) -> None:
    databases.flip(path, path.stat().st_size // 2)


def manifest_of(chain: Chain, link: int) -> str:
    return f"manifests/{chain.links[link].id}.json"


def pack_of(chain: Chain, link: int) -> str:
    return chain.links[link].packs[0].name


def index_of(chain: Chain, link: int) -> str:
    return chain.links[link].index.name


@pytest.mark.parametrize("link", [0, 1, 2])
@pytest.mark.parametrize(
    ("what", "damage", "sees"),
    [
        (manifest_of, _forged, 0),
        (pack_of, Path.unlink, 1),
        (pack_of, _cut, 1),
        (index_of, Path.unlink, 1),
        (pack_of, _flipped, 2),
        (index_of, _flipped, 2),
    ],
)
def test_each_damage_is_seen_from_its_level_on(
    chain: Chain, link: int, what: Callable[[Chain, int], str], damage: Callable[[Path], None], sees: int
) -> None:
    damage(chain.path_of(what(chain, link)))
    seen = [verify(chain.store, chain.links[2].id, level=level).ok for level in range(5)]
    assert seen == [level < sees for level in range(5)]


@pytest.mark.parametrize("link", [0, 1])
def test_a_missing_ancestor_is_seen_from_level_0_on(chain: Chain, link: int) -> None:
    chain.path_of(manifest_of(chain, link)).unlink()
    outcome = verify(chain.store, level=0)
    assert outcome.findings == (f"Its parent {chain.links[link].id} is missing.",)


def test_a_page_that_was_stored_wrong_is_named(chain: Chain) -> None:
    _flipped(chain.path_of(pack_of(chain, 1)))
    (finding,) = verify(chain.store, level=3).findings
    assert re.match(rf"{pack_of(chain, 1)} is not the bytes that were stored: its hash differs. Units \d+", finding)


def test_the_sample_leaves_out_what_was_looked_at_and_a_seed_repeats_it(chain: Chain) -> None:
    whole = verify(chain.store, level=2)
    assert whole.read_bytes == sum(link.stored_bytes for link in chain.links)
    sampled = verify(chain.store, level=2, seed=3)
    assert 0 < sampled.read_bytes < whole.read_bytes
    assert verify(chain.store, level=2, seed=3).read_bytes == sampled.read_bytes


def test_a_level_that_does_not_exist_is_refused(chain: Chain) -> None:
    for level in (-1, 5, 6):
        with pytest.raises(UsageError, match="levels go from 0 to 4"):
            verify(chain.store, level=level)


def test_a_service_that_runs_on_the_copy_makes_a_rehearsed_backup(chain: Chain) -> None:
    seen = []

    def boot(copy: Path) -> tuple[str, ...]:
        seen.append(databases.contents(copy))
        return ()

    assert verify(chain.store, level=5, boot=boot).ok
    assert seen == [chain.states[2]]
    assert catalogue.read(chain.store).find(chain.links[2].id).state == "rehearsed"
    assert not verify(chain.store, level=5, boot=lambda _: ("It does not answer.",)).ok
    assert catalogue.read(chain.store).find(chain.links[2].id).state == "suspect"


def test_only_a_look_that_sees_as_much_takes_a_refusal_back() -> None:
    deep, shallow = look(4, ok=False), look(1, ok=False)
    assert verification.standing_refusal((deep, look(3, ok=True))) is deep
    assert verification.standing_refusal((deep, shallow, look(1, ok=True))) is deep
    assert verification.standing_refusal((deep, look(4, ok=True, unseen=("the contents",)))) is deep
    assert verification.standing_refusal((deep, look(4, ok=True))) is None
    assert verification.standing_refusal((shallow, look(4, ok=True))) is None
    assert verification.standing_refusal(()) is None


def test_two_hundred_looks_at_good_backups_raise_no_alarm(chain: Chain) -> None:
    """Levels 0 to 3 in turn over every link; level 4 starts processes and is looked at above."""
    looks = [verify(chain.store, chain.links[n % 3].id, level=n % 4, seed=n) for n in range(200)]
    assert [one for one in looks if not one.ok or one.unseen] == []


def test_restores_to_a_scratch_place_raise_no_alarm(chain: Chain) -> None:
    assert all(verify(chain.store, chain.links[n % 3].id, level=4).ok for n in range(soak.rounds(12, 200)))
