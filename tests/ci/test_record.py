"""The record of a run: it comes back as it was written, and its published schema describes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]

from ci import record
from ci.record import Run
from tests.ci import sample_run

PUBLISHED = Path(__file__).parents[2] / "docs" / "run.schema.json"
RUNS = {
    make.__name__: make()
    for make in (sample_run.passing, sample_run.failing, sample_run.unknown, sample_run.crash, sample_run.empty,
                 sample_run.hostile)
}  # fmt: skip

every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


@every_run
def test_a_record_comes_back_as_it_was_written(run: Run, tmp_path: Path) -> None:
    record.write(run, tmp_path / "run.json")
    assert record.read(tmp_path / "run.json") == run


def test_writing_leaves_nothing_but_the_record(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record.write(RUNS["failing"], path)
    record.write(RUNS["passing"], path)
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]
    assert record.read(path) == RUNS["passing"]


def test_the_same_run_is_the_same_bytes(tmp_path: Path) -> None:
    record.write(RUNS["passing"], tmp_path / "one.json")
    record.write(sample_run.passing(), tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_record_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record.write(msgspec.structs.replace(RUNS["passing"], format=record.FORMAT + 1), path)
    with pytest.raises(msgspec.DecodeError, match=f"is of format 2; this version reads up to {record.FORMAT}"):
        record.read(path)


def test_a_newer_format_is_named_as_such_whatever_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"format": 9, "rounds": []}')
    with pytest.raises(msgspec.DecodeError, match="is of format 9"):
        record.read(path)


def test_a_field_of_a_later_version_of_this_format_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record.write(RUNS["passing"], path)
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {"weather": "calm"}))
    assert record.read(path) == RUNS["passing"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": "1"}'])
def test_what_is_no_record_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(msgspec.DecodeError):
        record.read(path)


def test_the_published_schema_is_the_schema_of_the_record() -> None:
    assert PUBLISHED.read_bytes() == record.published_schema()


def test_the_published_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(published())


@every_run
def test_every_run_validates_against_the_published_schema(run: Run, tmp_path: Path) -> None:
    record.write(run, tmp_path / "run.json")
    Draft202012Validator(published()).validate(json.loads((tmp_path / "run.json").read_bytes()))


@pytest.mark.parametrize("change", [{"verdict": "maybe"}, {"criteria": None}, {"duration_s": "long"}, {"rto": {}}])
def test_the_published_schema_refuses_what_is_no_run(change: dict[str, Any]) -> None:
    document = msgspec.to_builtins(RUNS["passing"]) | change
    with pytest.raises(ValidationError):
        Draft202012Validator(published()).validate(json.loads(json.dumps(document)))


def published() -> dict[str, Any]:
    """What `docs/run.schema.json` holds."""
    document: dict[str, Any] = json.loads(PUBLISHED.read_bytes())
    return document
