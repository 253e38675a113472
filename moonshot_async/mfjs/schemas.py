"""The schema of a Python type, in the dialect."""

import enum
import importlib
import inspect
from typing import Any

import msgspec
import msgspec.inspect

from moonshot_async.mfjs.assembly import LOCAL
from moonshot_async.mfjs.normaliser import Root, normalise

_REF = LOCAL + "{}"


def schema_of(type_: Any, *, root: Root = "any") -> dict[str, Any]:
    """The schema of a type, in the dialect.

    A field is required when it has no default. Objects are closed: no fields but those of the type, unless it says
    otherwise.

    Args:
        type_: a `msgspec.Struct`, dataclass, `TypedDict`, pydantic model or dataclass, or whatever else msgspec or
            pydantic has a schema for: enums, `Literal`, unions, lists, `dict[str, …]`, `Annotated[…, msgspec.Meta()]`.
        root: "object" for types whose values are JSON objects alone: the service takes no other root.

    Raises:
        TypeError: the type has no schema; or its values are no objects, and have to be.

    See: https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md
    """
    name = getattr(type_, "__qualname__", None) or str(type_)
    try:
        foreign = _pydantic_schema(type_) if is_pydantic(type_) else _msgspec_schema(type_)
        return normalise(foreign, closed=True, root=root)
    except (TypeError, ValueError, NameError, AttributeError, RuntimeError) as error:
        reason = str(error)
    except KeyError as error:  # how msgspec says that it cannot tell two types apart
        reason = f"there are two types of one name in it: {error}. Give one of them another name"
    raise TypeError(f"{name} cannot be sent as a schema: {reason}")


def is_pydantic(type_: Any) -> bool:
    """Whether a type is a model or a dataclass of pydantic, which is asked for its schema, and to validate."""
    return isinstance(type_, type) and (hasattr(type_, "model_json_schema") or hasattr(type_, "__pydantic_validator__"))


def pydantic_adapter(type_: Any) -> Any:
    """pydantic's `TypeAdapter` of a type of its own; pydantic is there, since the type is."""
    return importlib.import_module("pydantic").TypeAdapter(type_)


def _pydantic_schema(type_: Any, ref: str = _REF) -> dict[str, Any]:
    template = ref.format("{model}")
    if hasattr(type_, "model_json_schema"):
        schema: dict[str, Any] = type_.model_json_schema(ref_template=template)
    else:
        schema = pydantic_adapter(type_).json_schema(ref_template=template)
    return schema


def _msgspec_schema(type_: Any) -> dict[str, Any]:
    foreign: dict[str, Any] = {}
    known: list[Any] = []

    def hook(inner: Any) -> dict[str, Any]:
        if not is_pydantic(inner):
            raise NotImplementedError
        if inner not in known:
            known.append(inner)
        # What pydantic defines keeps to itself: other definitions may have the same names.
        own = f"{inner.__name__}.{known.index(inner)}"
        schema = _pydantic_schema(inner, _REF.format(own + ".{}"))
        foreign.update({f"{own}.{name}": one for name, one in schema.pop("$defs", {}).items()})
        return schema

    (root, *flags), components = msgspec.json.schema_components([type_, *_flags(type_)], schema_hook=hook)
    for one in components.values():
        if "description" in one:  # a docstring, indented as the code is
            one["description"] = inspect.cleandoc(one["description"])
    for flag in flags:
        # Its values are those that have names, and what is put together of them.
        one = components[flag["$ref"].removeprefix(LOCAL)]
        del one["enum"]
        one["type"] = "integer"
    return {**root, "$defs": {**components, **foreign}}


def _flags(type_: Any) -> set[type[enum.Flag]]:
    """The flags in a type."""
    found: set[type[enum.Flag]] = set()
    seen: set[int] = set()
    waiting: list[Any] = [msgspec.inspect.type_info(type_)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.EnumType) and issubclass(one.cls, enum.Flag):
            found.add(one.cls)
        elif isinstance(one, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(one) not in seen:
            seen.add(id(one))
            waiting += msgspec.structs.astuple(one)
        elif isinstance(one, tuple):
            waiting += one
    return found
