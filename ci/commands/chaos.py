"""`gymkhana chaos`: the faults there are, and playing one by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from chaos.fault import Fault, Injection
    from chaos.parameters import Parameter

UNKNOWN = 3


@click.group("chaos")
def command() -> None:
    """Break a marked target on purpose, and heal it."""


def _json(function: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


def _directory(function: Any) -> Any:
    return click.option(
        "--directory",
        metavar="DIR",
        required=True,
        type=click.Path(file_okay=False),
        help="The target: a directory that holds a file named .gymkhana-target.",
    )(function)


@command.command("list")
@_json
def list_(as_json: bool) -> None:
    """The faults there are, and how each heals."""
    from chaos import fault as faults

    kinds = [faults.kind(name) for name in faults.FAULTS]
    if as_json:
        _say_json({"faults": [{"name": one.name, "summary": one.summary, "healing": one.healing} for one in kinds]})
        return
    for one in kinds:
        click.echo(f"{one.name:<22} {one.summary}")


@command.command("describe")
@click.argument("name")
@_json
def describe(name: str, as_json: bool) -> None:
    """One fault: what it does, how it heals, and its parameters."""
    import msgspec

    from chaos import fault as faults
    from chaos import parameters

    kind = faults.kind(name)
    known = parameters.describe(kind)
    if as_json:
        facts = {"name": kind.name, "summary": kind.summary, "healing": kind.healing}
        _say_json({**facts, "parameters": msgspec.to_builtins(known)})
        return
    click.echo(f"{kind.name}: {kind.summary}")
    click.echo(f"It heals {kind.healing}.")
    for one in known:
        click.echo(_line(one))


@command.command("inject")
@click.argument("name")
@_directory
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A parameter; see `gymkhana chaos describe`.")
@click.option("--seed", type=int, default=0, show_default=True, help="Repeats every random choice.")
@click.option("--seconds", type=float, help="How long it lasts; then it is undone.")
@click.option(
    "--database", metavar="PATH", type=click.Path(), help="The database.  [default: DIR/db/gym.db or DIR/gym.db]"
)
@click.option("--store", metavar="DIR", type=click.Path(), help="The backups.  [default: DIR/store or DIR/backups]")
@click.option(
    "--runtime", metavar="DIR", type=click.Path(), help="Where the service's processes meet.  [default: <db>.runtime]"
)
@click.option("--failpoints", metavar="DIR", type=click.Path(), help="Where they are armed.  [default: DIR/failpoints]")
@click.option("--dry-run", is_flag=True, help="Say exactly what would be touched, and touch nothing.")
@_json
def inject(
    name: str,
    directory: str,
    pairs: tuple[str, ...],
    seed: int,
    seconds: float | None,
    database: str | None,
    store: str | None,
    runtime: str | None,
    failpoints: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Play one fault on a marked target, for as long as it lasts, and undo it. Ctrl-C undoes it at once.

    \b
    Examples:
      gymkhana chaos inject pause-service --directory var --seconds 5
      gymkhana chaos inject corrupt-database --directory var --set mode=zero-page --dry-run

    Exits with 0 when the fault proved that it bit, with 3 when there is no proof.
    """
    from pathlib import Path

    from chaos.lease import Leases
    from chaos.target import Target

    named = {"database": database, "store": store, "runtime": runtime, "failpoints": failpoints}
    target = Target.at(Path(directory), **{key: Path(path) if path else None for key, path in named.items()})
    fault = _made(name, seed, _given(pairs, seconds))
    if dry_run:
        steps = fault.plan(target)
        _say_json({"fault": name, "plan": steps}) if as_json else click.echo("\n".join(steps))
        return
    for lease in Leases(target.leases).heal_abandoned():
        click.echo(f"Undid {lease.record.what}, which an earlier run left.", err=True)
    try:
        with fault.inject(target) as injection:
            _hold(fault, injection)
            found = _found(fault, injection)
    except KeyboardInterrupt:
        click.echo(f"Interrupted; what {name} did is undone.", err=True)
        raise
    if as_json:
        _say_json(found)
    else:
        _say(found)
    if found["proof"] is None:
        raise click.exceptions.Exit(UNKNOWN)


@command.command("heal")
@_directory
@_json
def heal(directory: str, as_json: bool) -> None:
    """Undo every fault that still acts on a target, whoever injected it."""
    from pathlib import Path

    from chaos.lease import heal_all
    from chaos.target import Target

    healed = [lease.record.what for lease in heal_all(Target.at(Path(directory)).leases)]
    if as_json:
        _say_json({"healed": healed})
    elif not healed:
        click.echo("There is nothing to undo.")
    for what in () if as_json else healed:
        click.echo(f"Undid {what}.")


def _given(pairs: tuple[str, ...], seconds: float | None) -> dict[str, Any]:
    given: dict[str, Any] = {} if seconds is None else {"seconds": seconds}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set wants KEY=VALUE, and {pair!r} has no `=`.")
        given[key.strip()] = value.strip()
    return given


def _made(name: str, seed: int, given: dict[str, Any]) -> Fault:
    """The fault; by hand, what could be left to a restore is put back unless `put_back=false` was set."""
    from dataclasses import fields

    from chaos import fault as faults

    if "put_back" in (field.name for field in fields(faults.kind(name))):  # type: ignore[arg-type]
        given.setdefault("put_back", True)
    return faults.make(name, seed=seed, **given)


def _hold(fault: Fault, injection: Injection) -> None:
    """Return when the fault's time is over; at once when it has none, or certainly did not bite."""
    seconds: float = getattr(fault, "seconds", 0.0)
    if not seconds or (injection.settled and injection.proof is None):
        return
    click.echo(f"{fault.name} acts for {seconds:g} s; Ctrl-C undoes it at once.", err=True)
    time.sleep(seconds)


def _found(fault: Fault, injection: Injection) -> dict[str, Any]:
    import dataclasses

    import msgspec

    proof = injection.proof
    return {
        "fault": fault.name,
        "parameters": dataclasses.asdict(fault),  # type: ignore[call-overload]
        "proof": msgspec.to_builtins(proof) if proof else None,
        "why": injection.why,
        "left": fault.leaves,
    }


def _say(found: dict[str, Any]) -> None:
    if found["proof"] is None:
        click.echo(f"{found['fault']} left no proof that it bit: {found['why']}.")
    else:
        click.echo(f"{found['fault']} bit: {found['proof']['observed']}")
    click.echo(found["left"] or "It is undone.")


def _line(one: Parameter) -> str:
    return f"  {one.name:<10} {one.type}, {one.default} by default. {one.description}"


def _say_json(document: dict[str, Any]) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document)))
