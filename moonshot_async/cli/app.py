"""The group of all commands, and what happens around the one that is called."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

import click
from click.shell_completion import CompletionItem, shell_complete

from moonshot_async.cli.endings import ended
from moonshot_async.cli.options import Group, shown_version

PROGRAM: Final = "moonshot"
COMPLETE_VARIABLE: Final = "_MOONSHOT_COMPLETE"

# Where each command is, and what the list of commands says of it.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "chat": ("moonshot_async.cli.chat.command:chat", "Ask a model, or talk with it."),
    "models": ("moonshot_async.cli.account:models", "List the models, what they read, and what they cost."),
    "balance": ("moonshot_async.cli.account:balance", "Show what the account has left."),
    "tokens": ("moonshot_async.cli.tokens:tokens", "Count the tokens of a text as a model would."),
    "files": ("moonshot_async.cli.files.command:files", "Upload, list, read and delete files."),
    "extract": ("moonshot_async.cli.extract:extract", "Read the text of documents."),
    "batch": ("moonshot_async.cli.batch.command:batch", "Have many requests answered within hours, at a lower price."),
    "bulk": ("moonshot_async.cli.bulk.command:bulk", "Work through many requests, with a journal to go on from."),
    "schema": ("moonshot_async.cli.schema:schema", "Check JSON schemas, and make them fit."),
    "fake": ("moonshot_async.cli.fake:fake", "Serve the embedded service over HTTP."),
    "doctor": ("moonshot_async.cli.doctor.command:doctor", "Find out why calls fail, and what to do."),
    "completion": ("moonshot_async.cli.completion:completion", "Print the completions for a shell."),
}


class Moonshot(Group):
    """Loads a command when it is called; its list of commands is made without them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command), f"{module}:{name} is no command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # While a line is completed nothing is wrong yet.
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"There is no command {args[0]!r}.{_meant(args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=words) for name, (_, words) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command line and end the program. Unlike click's own, every end has its sentence and its code."""
        if instruction := os.environ.get(COMPLETE_VARIABLE):
            sys.exit(shell_complete(self, {}, PROGRAM, COMPLETE_VARIABLE, instruction))
        sys.exit(ended(self, PROGRAM, list(sys.argv[1:] if args is None else args)))


@click.command(cls=Moonshot, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=shown_version, help="Show it, and end."
)
def moonshot() -> None:
    """Talk to the Moonshot AI (Kimi) API.

    The key is read from MOONSHOT_API_KEY (or KIMI_API_KEY), else asked for; it is never an argument. With --offline no
    key and no network is needed: an embedded service answers.
    """


def _meant(name: str) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, COMMANDS, 1)
    return f" Did you mean {found[0]!r}?" if found else ""
