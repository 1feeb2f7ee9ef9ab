"""`gymkhana backup`: make backups, look at them, prove them, restore them. Each verb is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ci.commands.backup.options import POSITION

__all__ = ["POSITION", "command"]

VERBS: Mapping[str, tuple[str, str]] = {
    "run": ("making", "Make a backup of the running database."),
    "watch": ("making", "Ship the database's log to the store, so that the newest point is a second old."),
    "list": ("looking", "The backups in the store, newest first, and what is known of each."),
    "show": ("looking", "Everything that is known of one backup."),
    "timeline": ("looking", "What the store can be restored to: from when to when, the gaps, and why."),
    "verify": ("looking", "Prove a backup, as thoroughly as is asked for."),
    "rehearse": ("rehearsing", "Restore a backup elsewhere, boot a service on it, and compare what it shows."),
    "restore": (
        "restoring",
        "Put the database back from a backup, falling back to an older one when the newest is bad.",
    ),
    "consolidate": ("making", "Put a chain together to a new full backup, without reading the database."),
    "status": (
        "keeping",
        "Say whether the backups are all right, whoever forgot to make them.",
    ),
    "prune": (
        "keeping",
        "Delete what no rule keeps, marked first and deleted later.",
    ),
    "schedule": ("exporting", "Have backups made by systemd, cron or Kubernetes."),
    "resync": ("keeping", "Copy to each store what it lacks and another one has, as after a store was away."),
    "pin": ("keeping", "Keep a backup whatever the rules say, or stop keeping it."),
    "keygen": ("keys", "Make an age identity: the key that opens backups, and the recipient that seals them."),
    "prove-key": ("keys", "Try whether the identities at hand open the backups there are."),
}
"""Every verb: the module that has it, and its line of help, kept here so that help loads none of them."""


class Verbs(click.Group):
    """A group that loads a verb only to run it or to show its own help."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The verbs, in the order of a backup's life."""
        return list(VERBS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, loaded now; None when there is no such verb."""
        if cmd_name not in VERBS:
            return None
        from importlib import import_module

        module = import_module(f"ci.commands.backup.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_").replace("list", "list_"))
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
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.group("backup", cls=Verbs)
def command() -> None:
    """Back the database up, and bring it back."""
