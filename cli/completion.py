"""``geoseg completion``: print a shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .options import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        "geoseg completion bash > ~/.local/share/bash-completion/completions/geoseg",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    script = get_completion_class(shell)
    assert script is not None  # SHELLS are those that click knows
    click.echo(script(ctx.find_root().command, {}, "geoseg", "_GEOSEG_COMPLETE").source())
