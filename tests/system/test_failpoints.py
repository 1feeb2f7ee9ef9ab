"""Failpoints: absent unless configured, seeded, bounded, and never without proof."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from system.failpoints import Failpoints


def arm(directory: Path, **changes: Any) -> None:
    armed = {"name": "p", "seed": 7, "rate": 1.0, "until": time.monotonic() + 60} | changes
    (directory / "p.json").write_text(json.dumps(armed))


def hits(directory: Path) -> list[dict[str, Any]]:
    path = directory / "p.hits.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_without_a_directory_nothing_is_ever_hit() -> None:
    assert not Failpoints(None).hit("p", "op", "users")


def test_an_armed_point_is_hit_and_the_proof_is_written_first(tmp_path: Path) -> None:
    arm(tmp_path)
    assert Failpoints(tmp_path).hit("p", "op-1", "users")
    (hit,) = hits(tmp_path)
    assert (hit["name"], hit["operation"], hit["domain"]) == ("p", "op-1", "users")


def test_removing_the_file_disarms_the_point(tmp_path: Path) -> None:
    points = Failpoints(tmp_path)
    arm(tmp_path)
    assert points.hit("p", "op", "users")
    (tmp_path / "p.json").unlink()
    assert not points.hit("p", "op", "users")


def test_an_expired_point_is_not_hit(tmp_path: Path) -> None:
    arm(tmp_path, until=time.monotonic() - 1)
    assert not Failpoints(tmp_path).hit("p", "op", "users")
    assert hits(tmp_path) == []


def test_hits_are_bounded(tmp_path: Path) -> None:
    arm(tmp_path, max_hits=2)
    points = Failpoints(tmp_path)
    assert [points.hit("p", str(n), "users") for n in range(4)] == [True, True, False, False]


def test_other_domains_are_spared(tmp_path: Path) -> None:
    arm(tmp_path, domains=["challenges"])
    points = Failpoints(tmp_path)
    assert not points.hit("p", "op", "users")
    assert points.hit("p", "op", "challenges")


def test_the_same_seed_hits_the_same_operations(tmp_path: Path) -> None:
    arm(tmp_path, rate=0.5)
    first = [Failpoints(tmp_path).hit("p", str(n), "users") for n in range(1)]
    one, two = Failpoints(tmp_path), Failpoints(tmp_path)
    assert [one.hit("p", str(n), "users") for n in range(50)] == [two.hit("p", str(n), "users") for n in range(50)]
    assert first == [Failpoints(tmp_path).hit("p", "0", "users")]
