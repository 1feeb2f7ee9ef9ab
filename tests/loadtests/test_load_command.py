"""`gymkhana load` on a service that is already there: its words, its JSON and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ci.cli import gymkhana
from loadtests.errors import LoadError
from loadtests.plan import LoadPlan
from loadtests.scenario import GYM_DAY
from tests.loadtests.stub import Stub

pytestmark = pytest.mark.processes

PlanMaker = Callable[..., LoadPlan]


def load(plan: LoadPlan, *options: str) -> Result:
    """Runs the command with the plan's numbers; an error of the package is raised as it reaches the console script."""
    arguments = [
        "--url", plan.url, "--users", str(plan.users), "--ramp", str(plan.ramp_per_s), "--seconds", "1.2",
        "--scenario", str(plan.scenario), "--population", str(plan.population), "--directory", str(plan.directory),
    ]  # fmt: skip
    tool = () if "--tool" in options else ("--tool", "k6")
    result = CliRunner().invoke(gymkhana, ["load", *arguments, *tool, *options])
    if isinstance(result.exception, LoadError):
        raise result.exception
    return result


@pytest.mark.parametrize("tool", ["locust", "k6"])
def test_good_service_passes(tool: str, stub: Stub, quick_plan: PlanMaker, scenario_text: dict[str, Any]) -> None:
    """A table of flows, the levels with their goals, the verdict and where the files are."""
    stub.start()
    plan = quick_plan(stub.url)
    scenario_text["levels"] = [
        {"measure": "errors", "gate_share": 0},
        {"measure": "latency", "percentile": 50, "gate_ms": 900},
    ]
    plan.scenario.write_text(json.dumps(scenario_text))
    result = load(plan, "--tool", tool)
    assert result.exit_code == 0, result.output
    words = result.stdout.split("\n")
    assert words[0].split() == [
        "flow",
        "requests",
        "failures",
        "refused",
        "per",
        "s",
        "p50",
        "ms",
        "p95",
        "ms",
        "p99",
        "ms",
    ]
    assert any(line.startswith("all ") for line in words)
    assert "PASS    error rate" in result.stdout
    assert result.stdout.endswith(f"PASS  {plan.directory}\n")
    assert f"{tool} used" in result.stdout or "expected." in result.stdout


def test_failing_service_fails(stub: Stub, quick_plan: PlanMaker) -> None:
    """Errors are counted and named; the document on standard output is JSON and nothing else."""
    stub.start("--spoil")
    result = load(quick_plan(stub.url), "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"]) == (1, "fail")
    errors = next(level for level in document["levels"] if level["name"] == "error rate")
    assert errors["result"] == "fail"
    assert "failed, most often" in errors["why"]
    assert document["failures_in_all"] > 0
    assert document["doubts"] == []


def test_absent_service_fails(quick_plan: PlanMaker) -> None:
    """Refused a thousand times in a millisecond each is not fast."""
    document = json.loads(load(quick_plan("http://127.0.0.1:9"), "--json").stdout)
    assert document["verdict"] == "fail"
    assert document["total"]["failures"] == document["total"]["requests"] > 0


def test_too_few_requests_cannot_tell(stub: Stub, quick_plan: PlanMaker, scenario_text: dict[str, Any]) -> None:
    """Exit code 3: neither pass nor fail."""
    stub.start()
    plan = quick_plan(stub.url)
    plan.scenario.write_text(json.dumps(scenario_text | {"samples_min": 100_000}))
    result = load(plan)
    assert result.exit_code == 3
    assert "100000 needed" in result.stdout
    assert result.stdout.endswith(f"UNKNOWN  {plan.directory}\n")


def test_bad_scenario_starts_nothing(quick_plan: PlanMaker, scenario_text: dict[str, Any]) -> None:
    """One sentence, exit code 2, no directory."""
    plan = quick_plan("http://127.0.0.1:9")
    scenario_text["flows"][0]["weight"] = -1
    plan.scenario.write_text(json.dumps(scenario_text))
    with pytest.raises(
        LoadError, match=r"^quick\.json: flows\[0\] \(profile\)\.weight is -1; give 0 or more\.$"
    ) as caught:
        load(plan)
    assert caught.value.exit_code == 2
    assert not plan.directory.exists()


def test_used_directory_is_refused(quick_plan: PlanMaker) -> None:
    """What another run left is not mixed with ours."""
    plan = quick_plan("http://127.0.0.1:9")
    plan.directory.mkdir()
    (plan.directory / "run.json").write_text("{}")
    with pytest.raises(LoadError, match="is not empty") as caught:
        load(plan)
    assert caught.value.exit_code == 2


def test_endless_scenario_needs_an_end(tmp_path: Path, scenario_text: dict[str, Any]) -> None:
    """On the command line somebody waits for the verdict."""
    scenario_text["load"]["seconds"] = 0
    path = tmp_path / "endless.json"
    path.write_text(json.dumps(scenario_text))
    result = CliRunner().invoke(gymkhana, ["load", "--url", "http://127.0.0.1:9", "--scenario", str(path)])
    assert isinstance(result.exception, LoadError)
    assert "say for how long with --seconds" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--population", "people.json"], "say which one with --url"),
        (["--users", "0"], "0 is not in the range"),
        (["--ramp", "0"], "0.0 is not in the range"),
        (["--profile", "smoke", "--seconds", "3"], "leave --ramp and --seconds out"),
        (["--workers", "2", "--processes", "2"], "give one of them"),
        (["--listen", "127.0.0.1:1"], "say how many there will be"),
        (["--url", "http://127.0.0.1:9", "--database", "postgres"], "the service at --url has its own"),
        (["--tool", "ab"], "'ab' is not one of 'locust', 'k6', 'jmeter'"),
    ],
)
def test_usage_errors(options: list[str], complaint: str) -> None:
    """Exit code 2 and a sentence."""
    result = CliRunner().invoke(gymkhana, ["load", *options])
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_users_are_recruited_where_nobody_seeded(stub: Stub, quick_plan: PlanMaker, tmp_path: Path) -> None:
    """Without a population the users are signed up first, and kept beside the ledger."""
    stub.start()
    plan = quick_plan(stub.url, users=6)
    arguments = ["--url", stub.url, "--users", "6", "--ramp", "60", "--seconds", "1", "--scenario", str(plan.scenario)]
    result = CliRunner().invoke(
        gymkhana, ["load", *arguments, "--directory", str(plan.directory), "--tool", "k6", "--json"]
    )
    assert json.loads(result.stdout)["total"]["failures"] == 0
    assert len(json.loads((plan.directory / "population.json").read_bytes())["users"]) == 6
    assert (plan.directory / "ledger.jsonl").exists()


def test_check_names_every_wrong_field_and_starts_nothing(tmp_path: Path, scenario_text: dict[str, Any]) -> None:
    """One sentence each, exit code 2."""
    scenario_text["flows"][0]["weight"] = -1
    scenario_text["profiles"]["spike"]["stages"][0]["target"] = 5000
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(scenario_text))
    result = CliRunner().invoke(gymkhana, ["load", "check", str(path)])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "bad.json: flows[0] (profile).weight is -1; give 0 or more.",
        "bad.json: profiles.spike.stages[0].target is 5000, above the profile's 1000 users; lower it.",
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_check_of_a_sound_scenario(tmp_path: Path) -> None:
    """And what is in it."""
    result = CliRunner().invoke(gymkhana, ["load", "check", str(GYM_DAY)])
    assert (result.exit_code, result.stdout) == (
        0,
        "gym-day.json is sound: 19 flows, 3 levels; profiles: smoke, users-1000, soak, saturate, overload, spike, "
        "arrivals.\n",
    )


def test_the_load_leaves_a_page(stub: Stub, quick_plan: PlanMaker) -> None:
    """With the command that plays it again; a service without metrics is said to be not measured."""
    stub.start()
    plan = quick_plan(stub.url)
    load(plan)
    page = (plan.directory / "report.html").read_text()
    assert "Coordinated omission" in page
    assert "gymkhana load --seed 20261123 --url" in page
    assert 'memory <span class="none">not measured</span>' in page
