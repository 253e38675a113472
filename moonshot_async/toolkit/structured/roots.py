"""Any type as the type of an answer: what is no object is put into one, since the service takes no other root."""

import importlib
import re
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

import msgspec

from moonshot_async.errors import EmptyAnswerError, StructuredOutputError
from moonshot_async.mfjs import is_pydantic
from moonshot_async.structured import answer_type
from moonshot_async.types.encoding import is_type
from moonshot_async.types.parsed import ParsedChatCompletion

T = TypeVar("T")

# What a value is called in the object that it is put into.
_MEMBER: Final = "value"
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_UNKNOWN: Final = (TypeError, ValueError, NameError, AttributeError, RuntimeError)


class AnswerRoot(Generic[T]):
    """How values of a type are asked for.

    Attributes:
        type: what is asked for: the type, or an object with a value of it.

    Raises:
        TypeError: the type has no schema.
    """

    def __init__(self, type_: Any) -> None:
        known, self._wrapped = _root_of(type_)
        self.type: Any = known.type
        self.name = known.name

    def unwrapped(self, value: Any) -> Any:
        """The value of the type in what was asked for."""
        return getattr(value, _MEMBER) if self._wrapped else value

    def value_in(self, completion: ParsedChatCompletion[Any]) -> T:
        """The value of an answer that was parsed.

        Raises:
            EmptyAnswerError: it has no choices.
            StructuredOutputError: it calls tools or refuses.
        """
        if not completion.choices:
            raise EmptyAnswerError("The answer is empty: it has no choices.", text="", completion=completion)
        message = completion.choices[0].message
        if message.parsed is None and (message.refusal or message.tool_calls or message.function_call):
            what = "refuses" if message.refusal else 'calls tools (tool_choice="none" keeps it from that)'
            raise StructuredOutputError(
                f"The answer is not a {self.name}: it {what}.", text=message.content or "", completion=completion
            )
        value: T = self.unwrapped(message.parsed)
        return value


def _root_of(type_: Any) -> tuple["_Known", bool]:
    try:
        hash(type_)
    except TypeError:  # `Annotated` holds what it was given
        return _found(type_)
    return _known_root(type_)


class _Known:
    """A type that can be asked for, and its name."""

    def __init__(self, type_: Any) -> None:
        self.type = type_
        self.name = answer_type(type_).name


def _found(type_: Any) -> tuple[_Known, bool]:
    if is_type(type_) and type_ is not type(None):
        try:
            return _Known(type_), False
        except TypeError:
            # Its values are no objects, or it has no schema: then it has none in an object either.
            pass
    name = _name(type_)
    problem = ""
    for make in (_pydantic_object, _msgspec_object) if _holds_pydantic(type_) else (_msgspec_object,):
        try:
            return _Known(make(name, type_)), True
        except _UNKNOWN as error:
            problem = str(error)
    raise TypeError(problem)


_known_root = lru_cache(maxsize=256)(_found)


def _msgspec_object(name: str, type_: Any) -> Any:
    return msgspec.defstruct(name, [(_MEMBER, type_)], module=__name__)


def _pydantic_object(name: str, type_: Any) -> Any:
    # pydantic is there, since the type is.
    return importlib.import_module("pydantic").create_model(name, **{_MEMBER: (type_, ...)})


def _holds_pydantic(type_: Any) -> bool:
    """Whether there is a model of pydantic in a type: then pydantic says best what is wrong in it."""
    return is_pydantic(type_) or any(map(_holds_pydantic, get_args(type_)))


def _name(type_: Any) -> str:
    """The name of a type in words: `list_City`."""
    if hasattr(type_, "__metadata__"):
        return _name(type_.__origin__)
    origin = get_origin(type_) or type_
    parts = [getattr(origin, "__name__", None) or str(origin), *map(_name, get_args(type_))]
    return _NO_NAME.sub("_", "_".join(parts)).strip("_") or "answer"
