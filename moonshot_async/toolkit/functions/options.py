"""What can be said of a tool beside its function, and what a tool can be made of."""

import inspect
import re
from typing import Any, Final, NamedTuple, TypedDict

from moonshot_async.errors import ConfigurationError
from moonshot_async.toolkit.functions.context import Approve

MAX_RESULT_CHARS: Final = 100_000
# What the API takes as the name of a function.
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,127}")


class ToolOptions(TypedDict, total=False):
    """What `tool` takes.

    Attributes:
        name: how the model calls it: a letter or `_`, then letters, digits, `_` and `-`, 128 at most; else that of the
            function.
        description: what it does, and when to call it; else what the docstring says, without its sections about
            parameters, results, exceptions and examples.
        timeout: how many seconds one call by a model may take; None where the run decides, `math.inf` for as long as
            it likes.
        approve: what is asked before a run calls it. A function: that one. True: that of the run, which must have one.
            None: that of the run, if it has one. False: nobody.
        max_result_chars: how much of a result the model is told, 100,000 characters; None for all.
    """

    name: str | None
    description: str | None
    timeout: float | None
    approve: Approve | bool | None
    max_result_chars: int | None


class Options(NamedTuple):
    """The same, with all of it said."""

    name: str | None
    description: str | None
    timeout: float | None
    approve: Approve | bool | None
    max_result_chars: int | None

    def check(self, name: str) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigurationError: one cannot be; names it, and the tool.
        """
        timeout, chars = self.timeout, self.max_result_chars
        if not isinstance(self.description, str | None):
            raise ConfigurationError(f"{name}: description must be a text, not {type(self.description).__name__}")
        if timeout is not None and not (_is_number(timeout, int, float) and timeout > 0):
            raise ConfigurationError(f"{name}: timeout must be a positive number of seconds or None, not {timeout!r}")
        if not (self.approve is None or isinstance(self.approve, bool) or callable(self.approve)):
            raise ConfigurationError(f"{name}: approve must be a function, True, False or None, not {self.approve!r}")
        if chars is not None and not (_is_number(chars, int) and chars > 0):
            raise ConfigurationError(f"{name}: max_result_chars must be a positive number or None, not {chars!r}")


def check_callable(inner: Any) -> None:
    """Refuse what no tool can be made of.

    Raises:
        ConfigurationError: says what to do instead.
    """
    kind = getattr(inner, "__name__", type(inner).__name__)
    if isinstance(inner, type):
        raise ConfigurationError(
            f"{kind} is a class, and a tool is a function: wrap it in one, or see moonshot_async.structured."
            "function_tool for calls that are only parsed"
        )
    if not callable(inner):
        raise ConfigurationError(f"a tool is made of a function, not of {kind}")
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise ConfigurationError(f"{kind} is a generator, and a tool has one result: return a list, or a text")


def checked_name(inner: Any, given: str | None) -> str:
    """The name of a tool: the one that is given, or that of its function.

    Raises:
        ConfigurationError: the API does not take it.
    """
    name = getattr(inner, "__name__", type(inner).__name__) if given is None else given
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a tool: the API takes a letter or _, then letters, digits, _ and -, 128 "
            "characters at most. Give it one with tool(name=…)"
        )
    return name


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
