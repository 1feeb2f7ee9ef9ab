"""`gymkhana load compare`: holds the load tools against each other, and against a server whose latency is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loadtests.agreement import Certificate, Comparison

EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 3}


@click.command("compare")
@click.option("--tools", metavar="A,B", help="Which tools, two or more.  [default: all that this version knows]")
@click.option(
    "--against",
    type=click.Choice(["reference", "service"]),
    default="reference",
    show_default=True,
    help="A server of known latency, or a stand of the service.",
)
@click.option("--users", type=click.IntRange(min=1), default=200, show_default=True, help="Users at once.")
@click.option("--ramp", type=click.FloatRange(min=0, min_open=True), help="Users arriving per second.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How long they stay, once all are there.",
)
@click.option("--scenario", "scenario_path", type=click.Path(path_type=Path), help="Scenario file.  [default: gym-day]")
@click.option("--seed", type=int, help="Seed of every choice.  [default: the scenario's]")
@click.option("--directory", type=click.Path(path_type=Path), help="Where the files go.  [default: var/runs/ID]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def compare(
    tools: str | None,
    against: str,
    users: int,
    ramp: float | None,
    seconds: float,
    scenario_path: Path | None,
    seed: int | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Play one load with every load tool, one after the other, and certify that they report the same.

    The mix of flows must agree within 1 %, p50 and p95 of every flow within 5 % or 2 ms, whichever is more; against the
    reference server also with the law it is slow by. Exits with 0 when they do, 1 when not, 3 when it cannot be told.

    \b
    Examples:
      gymkhana load compare
      gymkhana load compare --tools k6,locust --against service --users 100
    """
    from ci.comparison import Terms
    from ci.comparison import compare as play
    from ci.stand import new_run_id
    from loadtests import scenario_file
    from loadtests.errors import PlanError
    from loadtests.scenario import GYM_DAY
    from loadtests.tools import TOOLS, load_tool

    names = list(dict.fromkeys((tools or ",".join(TOOLS)).split(",")))
    if len(names) < 2:
        raise click.UsageError(f"--tools names {names[0]} alone; name two or more of {', '.join(TOOLS)}.")
    for name in names:
        load_tool(name)
    scenario_path = scenario_path or GYM_DAY
    scenario = scenario_file.read(scenario_path)
    directory = directory or Path("var/runs") / new_run_id("compare", time.time())
    if directory.exists() and any(directory.iterdir()):
        raise PlanError(f"{directory} is not empty; a comparison needs a directory of its own.")
    terms = Terms(
        tools=names,
        against="reference" if against == "reference" else "service",
        scenario=scenario_path,
        users=users,
        ramp_per_s=ramp or scenario.load.ramp_per_s,
        seconds=seconds,
        seed=scenario.seed if seed is None else seed,
        directory=directory,
    )
    each_s = terms.length_s / len(names)
    certificate = play(terms, told=lambda tool: click.echo(f"{tool} plays for {each_s:.0f} s.", err=True))
    if as_json:
        _say_json(certificate, directory)
    else:
        _say(certificate, names, directory)
    raise click.exceptions.Exit(EXIT_CODES[certificate.verdict])


def _say(certificate: Certificate, tools: list[str], directory: Path) -> None:
    click.echo(f"{'':8}{'level':24}" + "".join(f"{name:>10}" for name in (*tools, "law")))
    for one in certificate.comparisons:
        figures = [*(one.values[tool] for tool in tools), one.law]
        why = f"  {one.why}" if one.why else ""
        click.echo(f"{one.result.upper():8}{one.level:24}" + "".join(f"{_figure(v, one):>10}" for v in figures) + why)
    if certificate.thin:
        click.echo(f"\nToo rarely played to compare a p95: {', '.join(certificate.thin)}.")
    for doubt in certificate.doubts:
        click.echo(f"UNKNOWN {doubt}")
    click.echo(f"\n{certificate.verdict.upper()}  {directory}")


def _figure(value: float | None, of: Comparison) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if of.unit == "share" else f"{value:.1f} ms"


def _say_json(certificate: Certificate, directory: Path) -> None:
    import msgspec

    document: dict[str, Any] = {
        "verdict": certificate.verdict,
        "comparisons": certificate.comparisons,
        "odd": certificate.odd,
        "thin": certificate.thin,
        "doubts": certificate.doubts,
        "directory": str(directory),
    }
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
