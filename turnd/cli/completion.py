"""`turnd completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from turnd.cli.commands import COMPLETE_VARIABLE, turnd
from turnd.cli.errors import usage


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell, to be evaluated or saved by it.

    \b
    bash:  eval "$(turnd completion bash)"               in ~/.bashrc
    zsh:   eval "$(turnd completion zsh)"                in ~/.zshrc
    fish:  turnd completion fish > ~/.config/fish/completions/turnd.fish
    """  # noqa: D301 - click knows paragraphs to leave alone by the character itself
    kind = get_completion_class(shell)
    if kind is None:
        raise usage(f"turnd completion: no completion for {shell}")
    click.echo(kind(turnd, {}, "turnd", COMPLETE_VARIABLE).source())
