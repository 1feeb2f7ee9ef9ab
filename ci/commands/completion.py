"""`gymkhana completion`: the script that makes a shell complete verbs and options."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes this command in a shell.

    \b
    Examples:
      gymkhana completion bash > ~/.local/share/bash-completion/completions/gymkhana
      gymkhana completion zsh > "${fpath[1]}/_gymkhana"
      gymkhana completion fish > ~/.config/fish/completions/gymkhana.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows every shell that the argument allows"
    click.echo(kind(ctx.find_root().command, {}, "gymkhana", "_GYMKHANA_COMPLETE").source())
