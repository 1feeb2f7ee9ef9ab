"""What a load tells at its end: a table and a verdict for people, one JSON document for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ci.record import Criterion
    from loadtests.assessment import Assessment
    from loadtests.generator import GeneratorSample
    from loadtests.history import History
    from loadtests.measure import Figures
    from loadtests.omission import Omission
    from loadtests.plan import LoadPlan
    from loadtests.service_levels import Result


@dataclass(frozen=True, slots=True)
class Outcome:
    """What there is to tell of a load: its figures, and what became of its writes where there was storage to look at."""

    history: History
    generator: Sequence[GeneratorSample]
    assessment: Assessment
    accounts: tuple[Criterion, ...] = ()

    @property
    def verdict(self) -> Result:
        """The worse of both."""
        from ci import judge

        results = {self.assessment.verdict, *([judge.verdict(self.accounts)] if self.accounts else [])}
        return "fail" if "fail" in results else "unknown" if "unknown" in results else "pass"


def say(plan: LoadPlan, tool: str, told: Outcome) -> None:
    """On standard output: flows, levels, what became of the writes, doubts, the verdict."""
    assessment = told.assessment
    steady = assessment.steady
    open_model = plan.shape.model == "open"
    _say_flows([*steady.flows, steady.total])
    _say_omission(assessment.omission)
    expected = f", {steady.expected_rate:.1f} expected" if steady.expected_rate else ""
    cores = "" if assessment.generator_cores is None else f"; {tool} used {assessment.generator_cores:.2f} cores"
    click.echo(
        f"\n{steady.users:.0f} {'in flight' if open_model else 'users'} for {steady.window.seconds:.0f} s: "
        f"{steady.total.rate:.1f} requests/s{expected}{cores}. Seed {plan.seed}.\n"
    )
    for level in assessment.levels:
        why = f"  {level.why}" if level.why else ""
        click.echo(f"{level.result.upper():8}{level.name:24} {level.told:>12}  {level.goal}{why}")
    for one in told.accounts:
        click.echo(
            f"{one.result.upper():8}{one.id:24} {one.measured:>12}  {one.goal}{f'  {one.why}' if one.why else ''}"
        )
    for doubt in assessment.doubts:
        click.echo(f"UNKNOWN {doubt}")
    if assessment.stopped:
        click.echo(f"STOPPED {assessment.stopped}")
    click.echo(f"\n{told.verdict.upper()}  {plan.directory}")


def _say_flows(rows: Sequence[Figures]) -> None:
    """The table of flows; a dash is a percentile with fewer than ten requests beyond it."""
    click.echo(
        f"{'flow':14}{'requests':>10}{'failures':>10}{'refused':>9}{'per s':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
    )
    for row in rows:
        click.echo(
            f"{row.name:14}{row.requests:>10}{row.failures:>10}{row.refused:>9}{row.rate:>9.1f}"
            f"{_ms(row.p50_ms):>9}{_ms(row.p95_ms):>9}{_ms(row.p99_ms):>9}"
        )


def _say_omission(omission: Omission) -> None:
    """The percentiles once more, as they were and as they would be had no user waited."""
    click.echo(f"\nCoordinated omission, {omission.method}:")
    for seen in (omission.raw, omission.corrected):
        click.echo(
            f"{seen.label:14}{seen.samples:>10}{'':28}{_ms(seen.p50_ms):>9}{_ms(seen.p95_ms):>9}{_ms(seen.p99_ms):>9}"
        )


def _ms(value: float | None) -> str:
    return "-" if value is None else "failed" if math.isinf(value) else f"{value:.1f}"


def say_json(plan: LoadPlan, tool: str, profile: str | None, told: Outcome) -> None:
    """The same as one JSON document."""
    import msgspec

    assessment = told.assessment
    steady = assessment.steady
    document: dict[str, Any] = {
        "run": plan.run,
        "verdict": told.verdict,
        "profile": profile,
        "stopped": assessment.stopped,
        "doubts": assessment.doubts,
        "levels": assessment.levels,
        "accounts": told.accounts,
        "flows": steady.flows,
        "total": steady.total,
        "omission": assessment.omission,
        "users": steady.users,
        "seconds": steady.window.seconds,
        "rate": steady.total.rate,
        "expected_rate": steady.expected_rate,
        "offered_p95_ms": steady.offered_p95_ms,
        "failures_in_all": assessment.whole.total.failures,
        "generator": {"tool": tool, "cores": assessment.generator_cores},
        "seed": plan.seed,
        "directory": str(plan.directory),
    }
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
