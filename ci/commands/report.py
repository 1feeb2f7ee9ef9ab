"""`gymkhana report`: draw a run's page again from its record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ci.record import Run

RUNS = "var/runs"


class NoReport(Exception):
    """There is no record to draw a page from, or it cannot be read: says which, and what to do."""

    exit_code = 2


@click.command("report")
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "--runs",
    type=click.Path(file_okay=False),
    default=RUNS,
    envvar="GYM_RUNS_DIR",
    help="Where runs are kept.  [default: GYM_RUNS_DIR, or var/runs]",
)
@click.option("--open/--no-open", "opens", default=False, show_default=True, help="Show the page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(run: str | None, runs: str, opens: bool, as_json: bool) -> None:
    """Draw a run's report.html again from its run.json, and print where it is.

    RUN is a run's directory or its id; without it, the run that was judged last.

    \b
    Examples:
      gymkhana report
      gymkhana report 20261123-091403-crash --open
    """
    import json
    import webbrowser

    from ci import report

    directory = newest(Path(runs)) if run is None else find(run, Path(runs))
    record = _read(directory / "run.json")
    page = directory / "report.html"
    try:
        report.write(record, page)
    except OSError as error:
        raise NoReport(f"{page} cannot be written: {error.strerror}.") from error
    if as_json:
        click.echo(json.dumps({"id": record.id, "verdict": record.verdict, "report": str(page)}))
    else:
        click.echo(page)
    if opens:
        webbrowser.open(page.resolve().as_uri())


def find(name: str, runs: Path) -> Path:
    """The directory of the run called `name`: a path, or an id under `runs`. Raises NoReport, with the nearest name."""
    import difflib

    for directory in (Path(name), runs / name):
        if (directory / "run.json").is_file():
            return directory
        if (directory / "report.html").is_file():
            raise NoReport(f"{directory} is a suite, whose page is {directory / 'report.html'}; name one of its runs.")
        if directory.is_dir():
            raise NoReport(f"{directory} holds no run.json; `gymkhana drill judge {name}` makes it from the raw files.")
    near = difflib.get_close_matches(name, [path.parent.name for path in runs.glob("*/run.json")], 1)
    raise NoReport(f"There is no run {name} under {runs}" + (f"; did you mean {near[0]}?" if near else "."))


def newest(runs: Path) -> Path:
    """The directory under `runs` whose run.json was written last. Raises NoReport when there is none."""
    records = [path for path in runs.glob("*/run.json") if not path.parent.is_symlink()]
    if not records:
        raise NoReport(f"There are no runs under {runs} yet; `gymkhana drill run crash` makes one.")
    return max(records, key=lambda path: (path.stat().st_mtime_ns, path.parent.name)).parent


def _read(path: Path) -> Run:
    import msgspec

    from ci import record

    class Stamp(msgspec.Struct):
        format: int

    try:
        raw = path.read_bytes()
        stamp = msgspec.json.decode(raw, type=Stamp)
        if stamp.format <= record.FORMAT:
            return record.read(path)
    except OSError as error:
        raise NoReport(f"{path} cannot be read: {error.strerror}.") from error
    except msgspec.ValidationError as error:
        raise NoReport(f"{path} is not the record of a run: {error}.") from error
    except msgspec.DecodeError as error:
        raise NoReport(f"{path} is not JSON: {error}.") from error
    raise NoReport(
        f"{path} is of format {stamp.format}, and this version reads up to {record.FORMAT}; "
        "use the gymkhana that made it."
    )
