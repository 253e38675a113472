"""The type that the arguments of a tool are read into: a struct with a field for each parameter."""

import enum
import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Optional, get_args, get_origin

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.mfjs import is_pydantic, pydantic_adapter, schema_of
from moonshot_async.toolkit.functions.signatures import Parameter, UnknownNameError

# The words of msgspec's `Meta` that others have, too, in what they put into `Annotated`; annotated_types, for one.
_BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length")
# How much of a type, and of what is wrong with it, a message shows.
_SHOWN: Final = 300
_SIMPLE: Final = (str, int, float, bool, type(None))


def field_name(place: int) -> str:
    """The field of the parameter at a place: parameters may have names that a struct cannot have."""
    return f"a{place}"


def struct_of(
    name: str, parameters: tuple[Parameter, ...], texts: Mapping[str, str]
) -> tuple[type[msgspec.Struct], dict[str, Any]]:
    """The struct that the arguments of a tool are, and its schema.

    A field that was not sent is `UNSET`, or has a simple default.

    Args:
        name: of the tool.
        parameters: what the model fills in.
        texts: what the docstring says of them, by name; what an annotation says comes first.

    Raises:
        UnknownNameError: a type is not known yet.
        ConfigurationError: a parameter has a type that has no schema, or whose values cannot be read; names it.
    """
    fields = [_field(name, place, one, texts.get(one.name)) for place, one in enumerate(parameters)]
    struct = msgspec.defstruct(name, fields, forbid_unknown_fields=True, kw_only=True)
    try:
        msgspec.json.Decoder(struct, dec_hook=foreign)
        schema = schema_of(struct)
    except NameError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001  # types of other people are asked for their schema
        raise _unfit(name, parameters, fields, error) from None
    else:
        return struct, schema
    raise UnknownNameError(f"{name}: the type of a parameter cannot be read: {problem}")


class Foreign:
    """A parameter that pydantic reads as a whole; its value, where msgspec has put it.

    The schema of its type is asked for as that of a model is.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


def foreign(type_: Any, value: Any) -> Any:
    """Make a value of a type that msgspec does not know, and pydantic does; for `dec_hook`."""
    return type_.model_validate_json(msgspec.json.encode(value))


def _field(name: str, place: int, parameter: Parameter, text: str | None) -> tuple[str, Any, Any]:
    type_, default = parameter.type, parameter.default
    if type(default).__module__.partition(".")[0] == "pydantic":
        raise ConfigurationError(
            f"{name}: the default of {parameter.name!r} is a {type(default).__name__} of pydantic, which is none "
            "outside of models: write Annotated[…, Field(…)] = default"
        )
    type_ = _readable(type_, text, nullable=default is None)
    if default is inspect.Parameter.empty:
        return field_name(place), type_, msgspec.field(name=parameter.name)
    if type(default.value if isinstance(default, enum.Enum) else default) in _SIMPLE:
        return field_name(place), type_, msgspec.field(name=parameter.name, default=default)
    # Not for the schema: the function has it, and what it is need not be JSON.
    return field_name(place), type_, msgspec.field(name=parameter.name, default_factory=_unset)


def _unset() -> msgspec.UnsetType:
    return msgspec.UNSET


def _readable(type_: Any, text: str | None, *, nullable: bool) -> Any:
    """A type as msgspec takes it, described. What is of pydantic is left to pydantic as a whole."""
    metadata = get_args(type_)[1:] if get_origin(type_) is Annotated else ()
    text = _text_of(metadata) or text
    adapter = None
    if any(_of_pydantic(part) for part in _parts(type_)):
        try:
            adapter = pydantic_adapter(_or_none(type_) if nullable else type_)
        except (ImportError, TypeError, RuntimeError, NameError):
            pass  # There is something of msgspec in it.
    if adapter is not None:
        type_ = _foreign_type(adapter)
    else:
        type_ = _or_none(_bounded(type_, metadata)) if nullable else _bounded(type_, metadata)
    return Annotated[type_, msgspec.Meta(description=text)] if text else type_


def _or_none(type_: Any) -> Any:
    # What annotations are is not known: not all of it has an `|`.
    return Optional[type_]  # noqa: UP045


def _bounded(type_: Any, metadata: tuple[Any, ...]) -> Any:
    bounds: dict[str, Any] = {
        word: value
        for part in metadata
        if not isinstance(part, msgspec.Meta)
        for word in _BOUNDS
        if (value := getattr(part, word, None)) is not None
    }
    return Annotated[type_, msgspec.Meta(**bounds)] if bounds else type_


def _foreign_type(adapter: Any) -> type[Foreign]:
    class Value(Foreign):
        model_json_schema = staticmethod(adapter.json_schema)

        @classmethod
        def model_validate_json(cls, data: bytes) -> Foreign:
            return cls(adapter.validate_json(data))

    return Value


def _text_of(metadata: tuple[Any, ...]) -> str | None:
    """What an annotation says of a parameter: a text, or what has one, as `Meta`, `Field` and `Doc` have."""
    for part in metadata:
        for text in (part, getattr(part, "description", None), getattr(part, "documentation", None)):
            if isinstance(text, str) and text:
                return text
    return None


def _parts(type_: Any) -> Iterator[Any]:
    """A type and all that it is written with."""
    yield type_
    for part in get_args(type_):
        yield from _parts(part)


def _of_pydantic(part: Any) -> bool:
    return (
        is_pydantic(part)
        or hasattr(part, "__get_pydantic_core_schema__")
        or type(part).__module__.partition(".")[0] == "pydantic"
    )


def _unfit(
    name: str, parameters: tuple[Parameter, ...], fields: list[tuple[str, Any, Any]], problem: Exception
) -> ConfigurationError:
    """Say which parameter it is: the first that is refused alone."""
    for parameter, (_, type_, _) in zip(parameters, fields, strict=True):
        struct = msgspec.defstruct(parameter.name, [("value", type_)])
        try:
            msgspec.json.Decoder(struct, dec_hook=foreign)
            schema_of(struct)
        except Exception as error:  # noqa: BLE001  # as above
            shown = parameter.type.__name__ if isinstance(parameter.type, type) else str(parameter.type)
            return ConfigurationError(
                f"{name}: the parameter {parameter.name!r} cannot be of type {shown[:_SHOWN]}: {str(error)[:_SHOWN]}"
            )
    return ConfigurationError(f"{name}: its parameters have no schema together: {str(problem)[:_SHOWN]}")
