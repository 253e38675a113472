"""How deep an answer is nested, told by what it was decoded to: the types of most fields say how deep they go."""

from enum import IntEnum
from functools import cache
from typing import Any, Final

import msgspec
import msgspec.inspect as inspect

_FLAT: Final = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.LiteralType,
)
_FLAT_VALUES: Final = frozenset({type(None), bool, int, float, str, msgspec.UnsetType})
# Deeper than the structs of any answer go.
MOST_LEVELS_OF_TYPES: Final = 32


class _Reach(IntEnum):
    """What a type says of how deep its values are nested."""

    CLOSED = 0
    BELOW = 1
    ANY = 2


def is_bounded(answer: object) -> bool:
    """Whether the type of what was decoded strictly tells how deep its JSON is nested.

    False where a field holds a list or an object of any kind: that may be nested as deep as it likes. So may be what a
    struct leaves out, unless it forbids fields that it does not know.
    """
    return isinstance(answer, msgspec.Struct) and _is_strict(type(answer)) and _is_bounded(answer)


def _is_bounded(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_bounded, value))
    for name, reach in _open_fields(value.__class__):
        held = getattr(value, name)
        if not (type(held) in _FLAT_VALUES or (reach is _Reach.BELOW and _is_bounded(held))):
            return False
    return True


def _is_strict(cls: type[Any]) -> bool:
    return bool(cls.__struct_config__.forbid_unknown_fields)


@cache
def _open_fields(cls: type[Any]) -> tuple[tuple[str, _Reach], ...]:
    """The fields of a struct that may hold anything, or structs with such fields."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    reaches = ((field.name, _reach_of_field(field, (cls,))) for field in info.fields)
    return tuple((name, reach) for name, reach in reaches if reach is not _Reach.CLOSED)


def _reach_of_field(field: inspect.Field, above: tuple[type[Any], ...]) -> _Reach:
    # Those of our own are named as no server can name them.
    return _Reach.CLOSED if field.name.startswith("_") else _reach(field.type, above)


def _reach(kind: inspect.Type, above: tuple[type[Any], ...]) -> _Reach:
    if isinstance(kind, inspect.UnionType):
        return max(_reach(one, above) for one in kind.types)
    if isinstance(kind, inspect.ListType):
        return _reach(kind.item_type, above)
    if isinstance(kind, inspect.StructType) and kind.cls not in above and _is_strict(kind.cls):
        within = (*above, kind.cls)
        below = max((_reach_of_field(field, within) for field in kind.fields), default=_Reach.CLOSED)
        return min(below, _Reach.BELOW)
    if isinstance(kind, inspect.DictType):
        return _Reach.CLOSED if isinstance(kind.value_type, _FLAT) else _Reach.ANY
    # A struct that holds its like may go on for ever.
    return _Reach.CLOSED if isinstance(kind, _FLAT) else _Reach.ANY
