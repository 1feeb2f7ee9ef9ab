"""`gymkhana doctor`: what is here, what is missing, and what each missing thing costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ci.doctor import Finding


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(as_json: bool) -> None:
    """Say what is here, what is missing, and what each missing thing costs.

    Exits with 0 when drills can run here and with 1 when they cannot.
    """
    from dataclasses import asdict

    from ci import doctor

    findings = doctor.examine(doctor.look())
    ready = doctor.ready(findings)
    if as_json:
        import json

        click.echo(json.dumps({"ready": ready, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        _say(findings)
        click.echo("Drills can run here." if ready else "Drills cannot run here until what is missing is there.")
    raise click.exceptions.Exit(0 if ready else 1)


def _say(findings: Sequence[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        cost = f": {finding.cost}" if finding.cost else ""
        click.echo(f"{finding.state:<9}{finding.name:<{width}}  {finding.found}{cost}")
        if finding.remedy:
            click.echo(f"{'':<{9 + width}}  -> {finding.remedy}")
