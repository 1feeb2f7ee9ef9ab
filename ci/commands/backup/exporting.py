"""`gymkhana backup schedule export`: units for the scheduler that is there already, checked before they are printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ci.commands.backup import options

if TYPE_CHECKING:
    from ci.units.job import Files, Job


@click.group("schedule")
def schedule() -> None:
    """Have backups made by systemd, cron or Kubernetes. `gymkhana schedule` needs none of them."""


@schedule.command("export")
@click.argument("kind", type=click.Choice(["systemd", "cron", "kubernetes"]))
@options.database
@options.stores
@click.option(
    "--recipient", "recipients", metavar="AGE1…", multiple=True, envvar="GYM_RECIPIENTS", help="Seal to these."
)
@click.option("--cron", metavar="CRON", default="0 2 * * *", show_default=True, help="When, in UTC.")
@click.option("--verify-level", type=click.IntRange(0, 4), default=3, show_default=True, help="How each one is proven.")
@click.option("--rehearse-every", metavar="TIME", help="Boot a service on the newest, so long after the last time.")
@click.option("--prune/--no-prune", default=False, help="Delete what no rule keeps, after each backup.")
@click.option("--demo", is_flag=True, envvar="GYM_STORE_DEMO", help="Allow a store on the database's own disk.")
@click.option("--name", default="gymkhana-backup", show_default=True, help="Of the units.")
@click.option("--user", default="gymkhana", show_default=True, help="Who runs them (systemd, cron).")
@click.option("--env-file", metavar="FILE", help="Credentials of the stores, as NAME=value lines (systemd, cron).")
@click.option("--image", metavar="IMAGE", help="The container image (kubernetes).")
@click.option("--namespace", metavar="NAME", help="Kubernetes' namespace.")
@click.option(
    "--secret", metavar="NAME", default="gymkhana", show_default=True, help="With the credentials (kubernetes)."
)
@click.option(
    "--claim", metavar="NAME", help="The volume claim that holds the database, mounted at /data (kubernetes)."
)
@click.option(
    "--host-secret", metavar="FILE", envvar="GYM_HOST_SECRET", help="This host's own, when backups are sealed."
)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Write files there; none is overwritten.")
def export(
    kind: str,
    database: str,
    stores: tuple[str, ...],
    recipients: tuple[str, ...],
    cron: str,
    verify_level: int,
    rehearse_every: str | None,
    prune: bool,
    demo: bool,
    name: str,
    user: str,
    env_file: str | None,
    image: str | None,
    namespace: str | None,
    secret: str,
    claim: str | None,
    host_secret: str | None,
    out: Path | None,
) -> None:
    """Print units that back up, verify, rehearse and prune, and an alarm that fails when a backup is missing.

    systemd's are accepted by `systemd-analyze verify` before they are printed, where there is one.

    \b
    Examples:
      gymkhana backup schedule export systemd --store /mnt/backups --out /etc/systemd/system
      gymkhana backup schedule export kubernetes --store s3://backups/gym --image registry/gymkhana:1
    """
    from backups.keeping.schedule import duration
    from ci.units.job import Job

    if rehearse_every:
        duration(rehearse_every)
    if env_file and not env_file.startswith("/"):
        raise click.UsageError(f"--env-file {env_file} is not an absolute path, and units run elsewhere.")
    if kind == "kubernetes":
        program, host_secret = "gymkhana", host_secret or "/data/host.secret"
        _require_reachable(database, stores)
    else:
        program, host_secret = _program(), _absolute(host_secret or "var/host.secret")
        database, stores = _absolute(database), tuple(_absolute(store) for store in stores)
    job = Job(
        name=name,
        program=program,
        database=database,
        stores=stores,
        recipients=recipients,
        host_secret=host_secret,
        cron=cron,
        verify_level=verify_level,
        rehearse_every=rehearse_every,
        prunes=prune,
        demonstration=demo,
    )
    files = _units(kind, job, user, env_file, image, namespace, secret, claim)
    _deliver(files, out)


def _units(
    kind: str,
    job: Job,
    user: str,
    env_file: str | None,
    image: str | None,
    namespace: str | None,
    secret: str,
    claim: str | None,
) -> Files:
    if kind == "systemd":
        from ci.units import systemd

        units = systemd.units(job, user, env_file, _directories(job))
        if systemd.available():
            systemd.require_accepted(units)
        else:
            click.echo("There is no systemd-analyze here, so nobody was asked whether systemd accepts these.", err=True)
        return units
    if kind == "cron":
        from ci.units import crontab

        return crontab.fragment(job, user, env_file)
    from ci.units import kubernetes

    if not image:
        raise click.UsageError("Kubernetes needs an image to run: name it with --image.")
    return kubernetes.manifests(job, image, namespace, secret, claim)


def _deliver(files: Files, out: Path | None) -> None:
    if out is None:
        for name, content in files.items():
            click.echo(f"# file: {name}\n{content}")
        return
    if not out.is_dir():
        raise click.UsageError(f"There is no directory {out}; make it, or name another with --out.")
    for name in files:
        if (out / name).exists():
            raise click.UsageError(
                f"{out / name} exists, and nothing is overwritten; remove it, or use another --name."
            )
    for name, content in files.items():
        (out / name).write_text(content, "utf-8")
        click.echo(str(out / name))


def _require_reachable(database: str, stores: tuple[str, ...]) -> None:
    """A container sees its volume and the network, and no directory of this machine."""
    from ci.units.kubernetes import DATA
    from system.database import sqlite_path

    if database.startswith("sqlite:") and not sqlite_path(database).is_relative_to(DATA):
        raise click.UsageError(
            f"The container sees the database below {DATA} only: --database sqlite:///{DATA}/gym.db."
        )
    for store in stores:
        if "://" not in store:
            raise click.UsageError(f"The container does not see the directory {store}; name a store by its URL.")


def _absolute(address: str) -> str:
    """A path as an absolute one, since units run elsewhere; other addresses as they are."""
    if address.startswith("sqlite:"):
        from system.database import sqlite_path

        return f"sqlite:///{sqlite_path(address)}"
    return address if "://" in address else str(Path(address).absolute())


def _directories(job: Job) -> tuple[str, ...]:
    """Where the backup writes: beside the database, where its locks are, and into stores that are directories."""
    from backups.addresses import engine_for

    database = engine_for(job.database).path_of(job.database)
    secret = [str(Path(job.host_secret).parent)] if job.recipients else []
    places = (str(database.parent), *(store for store in job.stores if "://" not in store), *secret)
    return tuple(dict.fromkeys(places))


def _program() -> str:
    """The path of this very program."""
    import shutil
    import sys

    from ci.units.job import UnitRefused

    beside = Path(sys.executable).with_name("gymkhana")
    found = str(beside) if beside.exists() else shutil.which("gymkhana")
    if found is None:
        raise UnitRefused("The program gymkhana is not installed here, so no unit can name it; run `make setup`.")
    return found
