"""What of a struct is shown and dumped: looked up once for each class."""

from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec


@cache
def fields_of(cls: type[Any]) -> tuple[list[msgspec.structs.FieldInfo], list[msgspec.structs.FieldInfo]]:
    """The fields to show of a struct: those that openai's has, and those that it does not have."""
    fields = [field for field in msgspec.structs.fields(cls) if not field.name.startswith("_")]
    return [one for one in fields if one.name not in cls._added], [one for one in fields if one.name in cls._added]


@cache
def said_by(cls: type[Any]) -> tuple[list[str], Callable[[Any], tuple[Any, ...]], list[str]]:
    """The names of its fields in JSON; what gets the unknown fields and openai's; the names of those beyond them."""
    theirs, ours = fields_of(cls)  # type: ignore[arg-type]  # a class can be hashed
    names = [field.encode_name for field in (*theirs, *ours)]
    # Of a single name it would get no tuple.
    return names, attrgetter("_extra", "_extra", *(field.name for field in theirs)), [field.name for field in ours]


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """What a field holds that nobody set."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def check_names(*choices: object) -> None:
    """Refuse what is no collection of names.

    Raises:
        TypeError: one is a text, or names deeper levels.
    """
    for names in choices:
        if isinstance(names, (str, Mapping)):
            raise TypeError(
                "include and exclude are collections of names, such as {'id', 'usage'}; none for deeper levels"
            )
