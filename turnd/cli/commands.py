"""The table of commands, and the group that imports each only when it is wanted."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPLETE_VARIABLE = "_TURND_COMPLETE"
"""Set by the shells' completion when they ask what may come next."""

COMMANDS: Mapping[str, str] = {
    "serve": "Run the server in the foreground.",
    "validate": "Say everything that is wrong with a config file.",
    "reload": "Let the running server read its config file again.",
    "check": "Check a server end to end, or this machine.",
    "credentials": "Make time-limited credentials from a secret (TURN REST).",
    "user": "Manage the users in Redis.",
    "secret": "Manage the TURN REST secrets in Redis.",
    "version": "Print the version.",
    "completion": "Print the completion script of a shell.",
}
"""Name → what help says; the module of that name has the command under that name."""


class LazyGroup(click.Group):
    """A group whose list needs no imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"turnd.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one was meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            ctx.fail(f"No such command '{name}'{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """The table, for `turnd --help`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table, then the group's own options."""
        names = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="turnd", prog_name="turnd", message="%(prog)s %(version)s")
def turnd() -> None:
    """A STUN and TURN server."""
