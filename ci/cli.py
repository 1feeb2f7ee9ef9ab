"""The `gymkhana` command: a table of verbs, each loaded when asked for, and the one place that turns errors into exit codes.

    0 pass   1 fail   2 usage   3 unknown   4 the harness itself broke   130 interrupted

Every package's errors carry an `exit_code` and say in one sentence what failed, on what, and what to do next. That sentence
goes to standard error; with `--json`, standard output still holds one JSON document: {"error": {"message", "kind"}}.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

VERBS: Mapping[str, str] = {
    "serve": "Serve the gym platform.",
    "migrate": "Bring a database's schema up to date, or back.",
    "seed": "Put players, tournaments and matches into an empty database.",
    "backup": "Back the database up, and bring it back.",
    "admin": "Make the accounts of the admin part, list them, disable them.",
    "schedule": "Make backups when they are due, verify them and prune, until told to stop.",
    "alerts": "See what fires, acknowledge or silence it, and try whether anybody is told.",
    "load": "Put users on the service and judge how it served them.",
    "chaos": "Break a marked target on purpose, and heal it.",
    "drill": "Break the service under load, bring it back, and prove what was lost.",
    "report": "Draw a run's report.html again from its run.json, and print where it is.",
    "doctor": "Say what is here, what is missing, and what each missing thing costs.",
    "completion": "Print the script that completes this command in a shell.",
}
"""Every verb with its one line of help, kept here so that `gymkhana --help` need not load a single one of them."""

BROKEN = 4
INTERRUPTED = 130

OPEN_FILES = 65_536
"""A thousand users are a thousand sockets twice over, and many systems begin processes with 1024 files."""


class Verbs(click.Group):
    """A group that knows its verbs by name and loads one only to run it or to show its own help."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The verbs, in the order of a day's work."""
        return list(VERBS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, loaded now; None when there is no such verb."""
        if cmd_name not in VERBS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"ci.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the arguments begin with. Raises NoSuchCommand, which names the nearest ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=VERBS, ctx=ctx) from error

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table as it stands above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    "gymkhana",
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  gymkhana doctor
  gymkhana drill run crash --users 100 --quick
  gymkhana drill run all
  gymkhana backup restore --dry-run

Exits with 0 for pass, 1 for fail, 2 for a wrong request, 3 when it could not be told, 4 when the harness itself broke, and
130 when it was interrupted. Standard output holds results, standard error everything else.
""",
)
@click.version_option(package_name="gymkhana", prog_name="gymkhana", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Show where an unexpected error came from (also GYM_DEBUG=1).")
def gymkhana(verbose: bool) -> None:
    """Put a thousand users on a service, break it, bring it back, and prove what was lost."""
    if verbose:
        os.environ["GYM_DEBUG"] = "1"


def main() -> NoReturn:
    """Runs the command line of this process and exits with its code. SIGTERM unwinds and cleans up as Ctrl-C does."""
    import signal

    signal.signal(signal.SIGTERM, _interrupt)
    _raise_open_file_limit()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code of `gymkhana ARGUMENTS`, after everything it has to say was said. Raises nothing but SystemExit."""
    as_json = "--json" in arguments
    try:
        code = gymkhana.main(list(arguments), "gymkhana", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.UsageError as error:
        return _said(f"{error.format_message()}{_where_help_is(error)}", "usage", error.exit_code, as_json)
    except click.ClickException as error:
        return _said(error.format_message(), _kind(error), error.exit_code, as_json)
    except click.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _said("Interrupted.", "interrupted", INTERRUPTED, as_json)
        return _said("Not confirmed, so not done.", "not-confirmed", 1, as_json)
    except KeyboardInterrupt:
        return _said("Interrupted.", "interrupted", INTERRUPTED, as_json)
    except Exception as error:  # noqa: BLE001  the outermost line of the process
        return _failed(error, as_json)
    return code if isinstance(code, int) else 0


def _failed(error: Exception, as_json: bool) -> int:
    """Says what a package's error has to say, or that the harness itself broke."""
    debug = os.environ.get("GYM_DEBUG", "") not in ("", "0")
    if debug:
        import traceback

        traceback.print_exception(error)
    exit_code = getattr(error, "exit_code", None)
    if isinstance(exit_code, int):
        return _said(str(error), _kind(error), exit_code, as_json)
    advice = "" if debug else " GYM_DEBUG=1 shows where."
    words = " ".join(str(error).split()) or "no more is known"
    return _said(f"Gymkhana itself broke ({type(error).__name__}: {words}).{advice}", "internal", BROKEN, as_json)


def _said(message: str, kind: str, exit_code: int, as_json: bool) -> int:
    click.echo(message, err=True)
    if as_json:
        import json

        click.echo(json.dumps({"error": {"message": message, "kind": kind}}, ensure_ascii=False))
    return exit_code


def _kind(error: Exception) -> str:
    """The error's class as machines like it: `NoSuchBackup` is `no-such-backup`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(error).__name__).lower()


def _where_help_is(error: click.UsageError) -> str:
    return f" See `{error.ctx.command_path} --help`." if error.ctx is not None else ""


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _raise_open_file_limit() -> None:
    """This process and its children may open `OPEN_FILES` files, or as many as the system lets anybody ask for."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
