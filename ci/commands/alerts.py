"""`gymkhana alerts`: what fires, who has seen it, what is to be quiet, and whether anybody would be told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from system.alerts.rules import Rule
    from system.settings import Settings

Command = Callable[..., None]
QUIET = ("inactive",)


@click.group("alerts")
def command() -> None:
    """See what fires, acknowledge or silence it, and try whether anybody is told."""


@command.group("rules")
def rules() -> None:
    """The rules: checked, or written for Prometheus."""


def _as_json(function: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


def _place(function: Command) -> Command:
    """`--database` and `--runtime`, which say where the service's processes meet."""
    function = click.option(
        "--runtime", type=click.Path(file_okay=False), metavar="DIR", envvar="GYM_RUNTIME",
        help="Where the service's processes meet.  [default: GYM_RUNTIME, or beside the database]",
    )(function)  # fmt: skip
    return click.option(
        "--database", metavar="URL", envvar="DATABASE_URL",
        help="The database that is served.  [default: DATABASE_URL, or var/gym.db]",
    )(function)  # fmt: skip


def _words(function: Command) -> Command:
    """`--by` and `--why`."""
    function = click.option("--why", default="", help="What for; it is shown with the alert.")(function)
    return click.option("--by", envvar="USER", default="somebody", show_default="USER", help="Who says so.")(function)


@command.command("list")
@_place
@click.option("--all", "everything", is_flag=True, help="Those that are inactive, too.")
@_as_json
def list_(database: str | None, runtime: str | None, everything: bool, as_json: bool) -> None:
    """The alerts that are not inactive, from the service's files; the database may be gone.

    Exits with 1 while one fires that nobody has acknowledged or silenced, and with 3 when no service looks at them.
    """
    import time

    from system.alerts import board

    config = _settings(database, runtime)
    known, now = _rules(config), time.time()
    place = config.runtime_directory()
    told = board.read(place, known, now)
    late = board.late(place, now)
    if as_json:
        _say_json(told | {"late": late})
    else:
        _say_board(told, everything)
        if late:
            click.echo(late, err=True)
    raise click.exceptions.Exit(3 if late else 1 if told["firing"] else 0)


def _say_board(told: dict[str, Any], everything: bool) -> None:
    from ci.commands.backup.shown import say_table

    alerts = [one for one in told["alerts"] if everything or one["state"] not in QUIET]
    if alerts:
        rows = [(one["state"], one["severity"], one["name"], one["since"] or "", one["told"]) for one in alerts]
        say_table(("STATE", "SEVERITY", "ALERT", "SINCE", "NOW"), rows)
    for one in alerts:
        if one["state"] in ("firing", "acknowledged", "silenced"):
            seen, until = one["acknowledged"], one["silenced_until"]
            click.echo(f"\n{one['name']}: {one['summary']}\n  {one['what_to_do']}\n  {one['runbook']}")
            if seen:
                click.echo(f"  Acknowledged by {seen['by']} at {seen['at']}. {seen['why']}".rstrip())
            if until:
                click.echo(f"  Silenced until {until}.")
    if not alerts:
        click.echo("Nothing fires.")
    for silence in told["silences"]:
        matchers = " ".join(f"{label}={wanted}" for label, wanted in silence["matchers"].items())
        click.echo(
            f"\nSilence {silence['id']} of {matchers} until {silence['ends']}, by {silence['by']}. {silence['why']}"
        )


@command.command("ack")
@click.argument("alert")
@_place
@_words
@_as_json
def ack(alert: str, database: str | None, runtime: str | None, by: str, why: str, as_json: bool) -> None:
    """Say that somebody looks after an alert: it is not told again until it ends and comes back.

    \b
    Example:
      gymkhana alerts ack BackupMissed --why "the store is being replaced"
    """
    from system.alerts import board

    config = _settings(database, runtime)
    seen = board.acknowledge(config.runtime_directory(), _rules(config), alert, by=by, why=why)
    if as_json:
        _say_json(seen)
    else:
        click.echo(f"{alert} is acknowledged by {seen.by}.")


@command.command("silence")
@click.argument("matchers", nargs=-1, required=True, metavar="ALERT|LABEL=VALUE...")
@click.option("--for", "lasting", metavar="TIME", default="2h", show_default=True, help="How long.")
@_place
@_words
@_as_json
def silence(
    matchers: tuple[str, ...], lasting: str, database: str | None, runtime: str | None, by: str, why: str, as_json: bool
) -> None:
    """Tell nobody of the alerts that match, for so long. What still fires at the end is told then.

    An alert's name, or labels: severity=warning, alertname=~Backup.+

    \b
    Examples:
      gymkhana alerts silence Shedding --for 30m --why "a load test"
      gymkhana alerts silence severity=warning --for 8h
    """
    from system.alerts import board, durations

    try:
        lasting_s = durations.seconds(lasting)
    except ValueError as error:
        raise click.UsageError(f"--for: {error}.") from error
    config = _settings(database, runtime)
    wanted = dict(_matcher(one) for one in matchers)
    if len(wanted) < len(matchers):
        raise click.UsageError("Say each label once; alertname=~A|B matches either.")
    made = board.silence(config.runtime_directory(), _rules(config), wanted, lasting_s=lasting_s, by=by, why=why)
    if as_json:
        _say_json(made)
    else:
        click.echo(f"Silence {made.id} is in force for {lasting}; gymkhana alerts unsilence {made.id} ends it.")


def _matcher(word: str) -> tuple[str, str]:
    """`severity=warning` and its like; a word alone is an alert's name."""
    for operator in ("!=", "!~", "=~"):
        label, found, value = word.partition(operator)
        if found:
            return label, operator + value
    label, found, value = word.partition("=")
    return (label, value) if found else ("alertname", word)


@command.command("unsilence")
@click.argument("silence", metavar="ID")
@_place
@_as_json
def unsilence(silence: str, database: str | None, runtime: str | None, as_json: bool) -> None:
    """End a silence now."""
    from system.alerts import board

    ended = board.unsilence(_settings(database, runtime).runtime_directory(), silence)
    if as_json:
        _say_json(ended)
    else:
        click.echo(f"Silence {ended.id} has ended.")


@command.command("test")
@_as_json
def test(as_json: bool) -> None:
    """Send a made-up alert to everybody whom GYM_ALERT_WEBHOOKS and GYM_ALERT_MAIL name, and say what each answered.

    Exits with 1 when one of them did not take it.
    """
    import asyncio

    from system.alerts.trial import trial
    from system.alerts.watch import configured_receivers

    receivers = configured_receivers(_settings(None, None))
    if not receivers:
        raise click.UsageError("There is nobody to tell: name somebody in GYM_ALERT_WEBHOOKS or GYM_ALERT_MAIL.")
    answers = asyncio.run(trial(receivers))
    rows = [
        {"receiver": one.name, "at": one.shown, "taken": answer.taken, "said": answer.said}
        for one, answer in zip(receivers, answers, strict=True)
    ]
    if as_json:
        _say_json({"receivers": rows})
    else:
        from ci.commands.backup.shown import say_table

        say_table(
            ("RECEIVER", "AT", "", "IT SAID"),
            [
                (str(row["receiver"]), str(row["at"]), "took it" if row["taken"] else "FAILED", str(row["said"]))
                for row in rows
            ],
        )
    raise click.exceptions.Exit(0 if all(answer.taken for answer in answers) else 1)


@rules.command("export")
@click.option(
    "--out", type=click.Path(dir_okay=False), metavar="FILE", help="Into that file.  [default: standard output]"
)
@click.option("--runbooks", metavar="URL", default="", help="Put before the path of each runbook.")
@_as_json
def export(out: str | None, runbooks: str, as_json: bool) -> None:
    """Write the rules for Prometheus, for whoever watches from outside.

    \b
    Example:
      gymkhana alerts rules export --out /etc/prometheus/gymkhana.rules.yml
    """
    from system.alerts.export import prometheus

    known = _rules(_settings(None, None))
    text = prometheus(known, runbooks)
    if out:
        Path(out).write_text(text, "utf-8")
    if as_json:
        _say_json({"rules": [{"name": one.name, "expression": one.promql(), "for": one.lasting} for one in known]})
    elif not out:
        click.echo(text, nl=False)


@rules.command("check")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@_as_json
def check(file: str | None, as_json: bool) -> None:
    """Check a file of rules, by default the service's own; Prometheus' promtool is asked too, where it is here."""
    from ci.promtool import refusal
    from system.alerts import rules as rules_of
    from system.alerts.export import prometheus

    known = rules_of.read(Path(file)) if file else _rules(_settings(None, None))
    refused = refusal(prometheus(known))
    if as_json:
        _say_json({"rules": len(known), "promtool": refused})
    elif refused:
        click.echo(f"promtool refuses the rules: {refused}", err=True)
    else:
        asked = "promtool was not here to be asked" if refused is None else "promtool has nothing against them"
        click.echo(f"{len(known)} rules are right; {asked}.")
    raise click.exceptions.Exit(1 if refused else 0)


def _settings(database: str | None, runtime: str | None) -> Settings:
    from system.settings import Settings

    given: dict[str, Any] = {"DATABASE_URL": database, "runtime": runtime}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(str(error).splitlines()[0]) from error


def _rules(config: Settings) -> tuple[Rule, ...]:
    from system.alerts.watch import configured_rules

    return configured_rules(config)


def _say_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())
