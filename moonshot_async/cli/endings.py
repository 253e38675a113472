"""How the program ends: what went wrong becomes one sentence on stderr and an exit code.

0    done
1    it failed: the API, the network, a file
2    wrong usage or configuration; nothing was sent
3    some of many items failed, the others are done
129  the terminal was closed (SIGHUP)
130  Ctrl-C
141  whoever read the output went away
143  SIGTERM
"""

import os
import re
import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any, Final

import click

from moonshot_async.cli import EXTRA
from moonshot_async.cli.chat.visible import visible
from moonshot_async.cli.output import to_json
from moonshot_async.cli.signals import signals_end
from moonshot_async.cli.state import State
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    ConfigurationError,
    MoonshotError,
    QuotaExceededError,
)

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
SOME_FAILED: Final = 3
INTERRUPTED: Final = 130
NO_READER: Final = 141

# What looks like a key, in what the user typed.
_KEY: Final = r"\bsk-[\w-]{6,}"
_KEY_OPTIONS: Final = ("--api-key", "--apikey", "--api_key", "--key", "--token")
_ADVICE: Final[tuple[tuple[type[MoonshotError], str], ...]] = (
    (APITimeoutError, "Give it longer with --timeout, or run `moonshot doctor`."),
    (ClientClosedError, ""),
    (APIConnectionError, "`moonshot doctor` looks for the cause."),
    (QuotaExceededError, "`moonshot balance` shows what is left."),
)
# Advice of the client to programs, and what it is at a terminal.
_FOR_PEOPLE: Final[Mapping[str, str]] = {
    " check=False sends it all the same.": "",
    "; if it does now, pass check=False": "",
    " timeout=… gives the whole call longer.": "",
    "or pass model=": "or give --model",
    "create() missing required keyword argument 'model'": "it names no model: name one there, or give --model",
}


class CommandError(click.ClickException):
    """A command cannot be carried out, or not to its end.

    Args:
        message: what went wrong, and what to do.
        exit_code: 1 for what failed, 2 for wrong usage, 3 where some of many failed.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        # A class has one code for all of its errors in click; these have one each.
        vars(self)["exit_code"] = exit_code


def ended(root: click.Command, program: str, arguments: list[str]) -> int:
    """Run a command line, say what went wrong, and tell the exit code. Commands return theirs, or None for 0."""
    state = State()
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding lacks is escaped, not an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings(), signals_end():
            _show_warnings(state)
            try:
                with root.make_context(program, arguments, obj=state) as ctx:
                    code = root.invoke(ctx)
            except click.exceptions.Exit as exit:
                code = exit.exit_code
            sys.stdout.flush()
            return code if isinstance(code, int) else DONE
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            # The terminal wrote ^C, and the prompt is to stand on a line of its own.
            state.output.note("")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return NO_READER
    except Exception as error:  # noqa: BLE001  # a program that ends says why, in one sentence
        code = exit_code_of(error)
        _tell(error, code, state, state.json or "--json" in arguments)
        return code


def exit_code_of(error: Exception) -> int:
    """The exit code for what a command raised."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, ConfigurationError) or _missing_package(error):
        return WRONG_USAGE
    return FAILED


def sentence(error: Exception) -> str:
    """What went wrong, for people, with advice where there is some."""
    if isinstance(error, click.ClickException):
        return _usage_sentence(error)
    if package := _missing_package(error):
        return f"This command needs the package {package}: pip install 'moonshot-async[cli]'"
    if isinstance(error, MoonshotError):
        notes = [note.strip() for note in getattr(error, "__notes__", ())]
        advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
        return " ".join(filter(None, [_closed(_for_people(str(error))), *notes, advice]))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return f"Unexpected {type(error).__name__}: {_closed(str(error))} Run it with --verbose to see where it came from."


def described(error: Exception) -> dict[str, Any]:
    """The same as data, as `--json` tells it."""
    told: dict[str, Any] = {"type": type(error).__name__, "message": sentence(error)}
    if isinstance(error, MoonshotError):
        told["retryable"] = error.retryable
    if isinstance(error, APIError):
        told["code"] = error.code or error.type
    if isinstance(error, APIStatusError):
        told |= {"status": error.status_code, "request_id": error.request_id, "retry_after": error.retry_after}
    return told


def _tell(error: Exception, code: int, state: State, json: bool) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not json:
        state.output.note(error.format_message())
        return
    if state.verbose and not isinstance(error, click.ClickException):
        state.output.note(state.hidden("".join(traceback.format_exception(error)).rstrip()))
    if json:
        told = {"error": {**described(error), "exit_code": code}}
        state.output.note(state.hidden(to_json(told).decode()))
    else:
        state.output.note(state.hidden(f"moonshot: {sentence(error)}"))


def _usage_sentence(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name in _KEY_OPTIONS:
        return (
            "Keys are not taken as arguments, which other users of the machine can see: set MOONSHOT_API_KEY, or leave "
            "it out to be asked."
        )
    words = re.sub(_KEY, "***", _closed(error.format_message()))
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{words} See `{error.ctx.command_path} --help`."
    return words


def _closed(text: str) -> str:
    """A sentence that ends as one."""
    text = visible(text).strip()
    return text if not text or text[-1] in ".!?:。" else f"{text}."


def _for_people(text: str) -> str:
    for words, others in _FOR_PEOPLE.items():
        text = text.replace(words, others)
    return text


def _missing_package(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        return name if name in EXTRA else None
    return None


def _show_warnings(state: State) -> None:
    """What the client warns of is a sentence for people, without the line of code that it came from."""

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        state.output.note(f"moonshot: warning: {message}")

    warnings.showwarning = show


def _open_closed() -> None:
    """Lead what the program was started without (`>&-`) nowhere: another file would get its number, and its text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(nowhere, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # to the end


def _drop_output() -> None:
    """Lead what is left in the buffers nowhere: Python writes it once more when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            number = stream.fileno()
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
        except (OSError, ValueError):
            pass
