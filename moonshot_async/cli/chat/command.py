"""`moonshot chat`: one question, or a session."""

import io
import os
import stat
import sys
from pathlib import Path
from typing import Any, Final, TextIO

import click
from click.core import ParameterSource

from moonshot_async.cli.options import command, model_option, pass_state
from moonshot_async.cli.state import State

# Of stdin; more does not fit any model.
_MOST_BYTES: Final = 64 * 1024 * 1024


@command()
@click.argument("question", required=False)
@model_option
@click.option("-s", "--system", metavar="TEXT", help="What the model is to be told first.")
@click.option(
    *("-a", "--attach"), metavar="PATH", multiple=True, type=click.Path(path_type=Path), help="An image or a video."
)
@click.option("--reasoning", type=click.Choice(["fold", "show", "hide"]), help="How to show what the model thinks.")
@click.option("--thinking/--no-thinking", default=None, help="For models that can be asked not to.")
@click.option("--effort", type=click.Choice(["low", "high", "max"]), help="How hard to think, for models that take it.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="The longest answer, reasoning included.")
@click.option("--load", metavar="FILE", help="Go on with a conversation that was saved.")
@click.option("--save", metavar="FILE", help="Save the conversation in the end.")
@click.option("--stream", is_flag=True, help="With --json: a line for each piece of the answer.")
@click.option("--plain", is_flag=True, help="The text as it comes, also on a terminal.")
@click.option("--no-stdin", is_flag=True, help="Leave stdin alone.")
@click.option("--no-history", is_flag=True, envvar="MOONSHOT_NO_HISTORY", help="Keep nothing that is typed in a file.")
@click.pass_context
@pass_state
def chat(state: State, context: click.Context, /, question: str | None, **given: Any) -> int | None:
    """Ask a model, or talk with it.

    With a QUESTION, or with text on stdin, the answer goes to stdout; with both, the text stands below the question.
    Without either, on a terminal, a session begins. `@PATH` in a question shows the model an image or a video.
    """
    given["model_given"] = context.get_parameter_source("model") is ParameterSource.COMMANDLINE
    _check(state, given)
    typed, piped = question or "", "" if given["no_stdin"] else piped_text()
    if typed.strip() or piped.strip() or (given["attach"] and not _is_terminal(sys.stdin)):
        from moonshot_async.cli.chat.once import ask_once

        return state.run(ask_once(state, given, typed, piped))
    if state.json or given["plain"] or not (_is_terminal(sys.stdin) and _is_terminal(sys.stdout)):
        raise click.UsageError("There is no question: give one, or text on stdin. A session needs a terminal.")
    if os.environ.get("TERM") == "dumb":
        raise click.UsageError("There is no question: give one. A session needs more than a terminal with TERM=dumb.")
    from moonshot_async.cli.chat.interactive import talk

    return state.run(talk(state, given))


def piped_text() -> str:
    """The text on stdin, if something was led there: a pipe, a file or a socket.

    Raises:
        click.UsageError: it is no UTF-8, or too much.
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
        led = stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
    except (AttributeError, OSError, ValueError):
        # It is closed, there never was any, or a program has put something in its place.
        led = isinstance(getattr(sys.stdin, "buffer", None), io.BytesIO)
    if not led or sys.stdin.closed:
        return ""
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise click.UsageError(f"There is more than {_MOST_BYTES:,} bytes on stdin, which no model reads.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError(
            "What is on stdin is no UTF-8 text. Images and videos: --attach FILE; documents: `moonshot extract`."
        ) from None


def _is_terminal(file: TextIO | None) -> bool:
    return file is not None and not file.closed and file.isatty()


def _check(state: State, given: dict[str, Any]) -> None:
    if given["stream"] and not state.json:
        raise click.UsageError("--stream is for --json; text always comes as it is made.")
    if given["effort"] is not None and given["thinking"] is not None:
        raise click.UsageError("--thinking and --effort exclude each other: K2.x takes the one, K3 the other.")
    if given["load"] is not None and given["system"] is not None:
        raise click.UsageError("--system is for new conversations; the one in the file has begun.")
