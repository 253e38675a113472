"""What every command takes, before its name or behind it: `moonshot --json models` is `moonshot models --json`."""

import math
from collections.abc import Callable
from typing import Any, Final

import click
from click.core import ParameterSource

from moonshot_async.cli.state import State

pass_state: Final = click.make_pass_decorator(State, ensure=True)

DEFAULT_MODEL: Final = "kimi-k2.6"
_SHARED: Final = "_is_shared"
# As long as the first sentence of a command may be.
_WHOLE: Final = 200


def _shared_options() -> list[click.Option]:
    def option(*names: str, **attributes: Any) -> click.Option:
        made = click.Option([*names], expose_value=False, callback=_kept, **attributes)
        setattr(made, _SHARED, True)
        return made

    return [
        option("--json", is_flag=True, help="JSON: a document, or a line for each result."),
        option("--offline", is_flag=True, help="Ask an embedded service: no key, no costs."),
        option("--region", type=click.Choice(["cn", "intl"]), help="Where the key is from; cn unless given."),
        option("--base-url", metavar="URL", help="Where the API is, instead of --region."),
        option("--timeout", type=Amount(least_open=True), metavar="SECONDS", help="For each call, in all."),
        option("--no-color", is_flag=True, help="No colour on terminals, like NO_COLOR=1."),
        option("-v", "--verbose", is_flag=True, help="Tell what is sent, and where failures are."),
    ]


def _kept(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Take note of an option, wherever it stood; what was not said here leaves what was said before the command."""
    assert parameter.name is not None, "click names what has a long form"
    if ctx.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT:
        state = ctx.ensure_object(State)
        setattr(state.output if parameter.name in ("json", "no_color") else state, parameter.name, value)


class Amount(click.FloatRange):
    """A finite number from 0 on; without 0 itself where `least_open`."""

    def __init__(self, *, least_open: bool = False) -> None:
        super().__init__(0, min_open=least_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no amount.", param, ctx)
        return number


class Command(click.Command):
    """A command that takes the shared options too; its help lists them apart."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_shared_options())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _format_options(self, ctx, formatter)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_shared_options())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        _format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            # Whole: click's own are cut.
            formatter.write_dl([(name, one.get_short_help_str(_WHOLE)) for name, one in found if one is not None])

    def list_commands(self, ctx: click.Context) -> list[str]:
        # As they were written: what is used first comes first.
        return list(self.commands)


def command(name: str | None = None, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command` for this program."""
    return click.command(name, cls=Command, **attributes)


def group(name: str | None = None, **attributes: Any) -> Callable[[Callable[..., Any]], Group]:
    """`click.group` for this program."""
    return click.group(name, cls=Group, **attributes)


def model_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--model`, in the same words everywhere."""
    return click.option(
        "-m",
        "--model",
        envvar="MOONSHOT_MODEL",
        default=DEFAULT_MODEL,
        show_default=True,
        show_envvar=True,
        metavar="ID",
        help="Which model; `moonshot models` lists them.",
    )(function)


def shown_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Print the version and end, if it was asked for."""
    if value:
        from moonshot_async import __version__

        click.echo(f"moonshot {__version__}")
        ctx.exit()


def _format_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for parameter in command.get_params(ctx):
        record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
        if record is not None:
            (shared if hasattr(parameter, _SHARED) else own).append(record)
    for title, records in (("Options", own), ("Options of every command", shared)):
        with formatter.section(title):
            formatter.write_dl(records)
