"""How values of a type are told while their JSON text still arrives: what grows, and what comes when it is whole.

Whatever is whole is read by the decoder of its type, so that a part of an answer is what it will be in all of it. What
is not understood here is told when it is whole, and never before.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import MutableSet as AbstractMutableSet
from collections.abc import Set as AbstractSet
from enum import EnumMeta
from functools import lru_cache, partial
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

import msgspec

from moonshot_async.mfjs import is_pydantic, pydantic_adapter
from moonshot_async.structured import validator
from moonshot_async.toolkit.structured.partial_shapes import (
    HELD,
    HOLD,
    UNSET,
    ArrayShape,
    DictShape,
    Fields,
    Held,
    ObjectShape,
    Plan,
    Read,
    TaggedShapes,
    Takes,
)

T = TypeVar("T")

_LISTS: Final = frozenset((list, Sequence, MutableSequence, Collection))
_SETS: Final[Mapping[Any, Any]] = {set: set, AbstractSet: set, AbstractMutableSet: set, frozenset: frozenset}
_DICTS: Final = frozenset((dict, Mapping, MutableMapping))
_WORDS: Final = frozenset((bool, int, float, NoneType, None, msgspec.UnsetType))
# What wraps the type of a field: told by name, since some came after Python 3.11.
_WRAPPERS: Final = frozenset(("Required", "NotRequired", "ReadOnly", "Final"))
_UNKNOWN: Final = (TypeError, ValueError, NameError, AttributeError, RuntimeError)


def plan_of(type_: Any, *, pydantic: bool) -> Plan:
    """The plan of a type, made once for each.

    Args:
        type_: what msgspec or pydantic know.
        pydantic: whether pydantic validates what it is a part of.
    """
    try:
        hash(type_)
    except TypeError:  # `Annotated` holds what it was given
        return _plan(type_, pydantic)
    return _known_plan(type_, pydantic)


def _plan(type_: Any, pydantic: bool) -> Plan:
    while getattr(get_origin(type_), "_name", None) in _WRAPPERS:
        (type_,) = get_args(type_)
    try:
        takes = takes_of(type_, pydantic=pydantic)
    except _UNKNOWN:
        takes = HELD
    return Plan(takes, lambda: reader(type_, pydantic=pydantic))


_known_plan = lru_cache(maxsize=1024)(_plan)


def reader(type_: Any, *, pydantic: bool) -> Read:
    """What makes values of whole texts: the one that reads the answer, for a part of it."""
    if pydantic and not is_pydantic(type_):
        adapted: Read = pydantic_adapter(type_).validate_json
        return adapted
    return validator(type_)


def takes_of(type_: Any, *, pydantic: bool) -> Takes:
    """What JSON a type takes, and what of it grows.

    Raises:
        TypeError, AttributeError, NameError, ValueError: it is not understood.
    """
    bare, notes = _unwrapped(type_)
    if pydantic and not all(map(_is_harmless, notes)):
        return HELD
    origin, args = get_origin(bare) or bare, get_args(bare)
    if origin in (Union, UnionType):
        return _union([takes_of(arg, pydantic=pydantic) for arg in args])
    if bare is Any:
        anything = partial(plan_of, Any, pydantic=pydantic)
        return Takes(True, DictShape(anything, None), ArrayShape(_owned, anything))
    if bare is str:
        return Takes(text=True)
    if bare in _WORDS:
        return Takes()
    if origin is Literal or isinstance(bare, EnumMeta):
        return Takes(text=HOLD)
    if origin in _LISTS or origin in _SETS or origin is tuple:
        return Takes(array=_array(origin, args, pydantic))
    if origin in _DICTS:
        key, value = args or (Any, Any)
        names = None if key in (str, Any) else _keys(reader(GenericAlias(dict, (key, None)), pydantic=pydantic))
        return Takes(object=DictShape(partial(plan_of, value, pydantic=pydantic), names))
    return _record(bare, origin, pydantic) if isinstance(origin, type) else HELD


def fields_of(types: Mapping[str, Any], *, pydantic: bool) -> Fields:
    """The members of an object that are held under their own names; without those whose type is open."""
    return {name: (name, plan_of(one, pydantic=pydantic)) for name, one in types.items() if not _is_open(one)}


def bare_of(cls: Any, names: Collection[str]) -> Callable[[dict[str, Any]], Any]:
    """What makes objects of a plain class past its `__init__`.

    Raises:
        TypeError: making them is a thing of its own.
    """
    if cls.__new__ is not object.__new__:
        raise TypeError(f"{cls.__name__} has a __new__ of its own")
    put = object.__setattr__

    def make(members: dict[str, Any]) -> Any:
        made = object.__new__(cls)
        for name in names:
            put(made, name, members[name])
        return made

    return make


def _record(type_: Any, origin: Any, pydantic: bool) -> Takes:
    if is_pydantic(origin):
        # Imported late: pydantic need not be there.
        from moonshot_async.toolkit.structured.partial_pydantic import model_shape

        return Takes(object=model_shape(origin))
    if pydantic and _says_how(origin):
        return HELD
    if issubclass(origin, msgspec.Struct):
        return _struct(type_, origin)
    if dataclasses.is_dataclass(origin):
        names = [field.name for field in dataclasses.fields(origin)]
        make, remade = bare_of(origin, names), hasattr(origin, "__post_init__")
        return Takes(object=_hinted(type_, make, dict.fromkeys(names, UNSET), remade, pydantic))
    if issubclass(origin, dict) and hasattr(origin, "__total__"):  # a TypedDict
        return Takes(object=_hinted(type_, _owned, {}, False, pydantic))
    return HELD


def _says_how(cls: Any) -> bool:
    """Whether a class that is not pydantic's tells it how to validate: by settings or by validators."""
    return hasattr(cls, "__pydantic_config__") or any(
        type(value).__name__ == "PydanticDescriptorProxy" for base in cls.__mro__ for value in vars(base).values()
    )


def _struct(type_: Any, origin: Any) -> Takes:
    config = origin.__struct_config__
    if config.array_like:
        return Takes(array=HOLD)
    cls, remade = origin, hasattr(origin, "__post_init__")
    if remade:
        # It is for whole objects. So those that are not are of a subclass without it.
        fields = [(name, Any, UNSET) for name in origin.__struct_fields__]
        namespace = {"__post_init__": lambda self: None, "__qualname__": origin.__qualname__}
        cls = msgspec.defstruct(
            origin.__name__, fields, bases=(origin,), namespace=namespace, module=origin.__module__, kw_only=True
        )

    def load() -> Fields:
        found = [field for field in msgspec.structs.fields(type_) if not _is_open(field.type)]
        return {field.encode_name: (field.name, plan_of(field.type, pydantic=False)) for field in found}

    blank = dict.fromkeys(origin.__struct_fields__, UNSET)
    shape = ObjectShape(lambda members: cls(**members), load, blank, remade=remade)
    return Takes(object=shape, tag=None if config.tag is None else (config.tag_field, config.tag))


def _hinted(
    type_: Any, make: Callable[[dict[str, Any]], Any], blank: dict[str, Any], remade: bool, pydantic: bool
) -> ObjectShape:
    """The shape of a class whose fields are named as in JSON."""
    origin = get_origin(type_) or type_
    given = dict(zip(getattr(origin, "__parameters__", ()), get_args(type_), strict=False))

    def load() -> Fields:
        types = {name: _filled(one, given) for name, one in hints_of(origin, include_extras=True).items()}
        return fields_of(types, pydantic=pydantic)

    return ObjectShape(make, load, blank, remade=remade)


def _array(origin: Any, args: tuple[Any, ...], pydantic: bool) -> ArrayShape | Held:
    plan = partial(plan_of, args[0] if args else Any, pydantic=pydantic)
    if origin is tuple:
        # One of a certain length is none before it has it.
        return ArrayShape(tuple, plan) if not args or args[1:] == (...,) else HOLD
    if origin in _SETS:
        # What is in a set does not grow.
        return ArrayShape(_SETS[origin], lambda: Plan(HELD, lambda: plan().read))
    return ArrayShape(_owned, plan)


def _owned(parts: T) -> T:
    """Members or items that are the value itself."""
    return parts


def _keys(read: Read) -> Callable[[str], Any]:
    """What makes keys of names, given what reads a dict of such keys and nulls."""

    def key(name: str) -> Any:
        (made,) = read(msgspec.json.encode({name: None}).decode())
        return made

    return key


def _union(alternatives: list[Takes]) -> Takes:
    """What a union takes: what only one of its types does is told as by that one."""
    objects = [takes for takes in alternatives if takes.object is not None]
    object_: Any = _only([takes.object for takes in objects])
    if object_ is HOLD:
        shapes = {
            takes.tag[1]: takes.object for takes in objects if takes.tag and isinstance(takes.object, ObjectShape)
        }
        fields = {takes.tag and takes.tag[0] for takes in objects}
        if len(shapes) == len(objects) and len(fields) == 1:
            object_ = TaggedShapes(fields.pop() or "", shapes)
    return Takes(_only([takes.text for takes in alternatives]), object_, _only([takes.array for takes in alternatives]))


def _only(takes: list[Any]) -> Any:
    """What is taken where only one of several types takes something."""
    found = [one for one in takes if one is not None]
    return found[0] if len(found) == 1 else HOLD if found else None


def _unwrapped(type_: Any) -> tuple[Any, list[Any]]:
    """A type without what is only said about it, and that."""
    notes: list[Any] = []
    while True:
        origin = get_origin(type_)
        if origin is Annotated:
            notes += type_.__metadata__
            type_ = type_.__origin__
        elif isinstance(type_, NewType):
            type_ = type_.__supertype__
        elif type(type_).__name__ == "TypeAliasType":
            type_ = type_.__value__
        else:
            return type_, notes


def _is_harmless(note: Any) -> bool:
    """Whether a note of pydantic's leaves what it stands beside as it comes."""
    if type(note).__name__ == "FieldInfo":
        return note.discriminator is None and all(map(_is_harmless, note.metadata))
    return isinstance(note, str) or type(note).__name__ in ("MinLen", "MaxLen")


def _filled(hint: Any, given: Mapping[Any, Any]) -> Any:
    """A hint of a generic class, with the types that the class was given."""
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    if parameters := getattr(hint, "__parameters__", ()):
        return hint[tuple(given.get(one, one) for one in parameters)]
    return hint


def _is_open(hint: Any) -> bool:
    """Whether a hint holds a type that is not known."""
    return isinstance(hint, TypeVar) or bool(getattr(hint, "__parameters__", ()))
