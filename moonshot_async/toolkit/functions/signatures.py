"""The parameters of a function as its signature says them: names, types, defaults, and where the context goes."""

import inspect
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin

from moonshot_async.errors import ConfigurationError
from moonshot_async.toolkit.functions.context import ToolContext

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# Names that the dialect keeps for itself.
_RESERVED: Final = frozenset(("anyOf", "required", "additionalProperties"))


class Parameter(NamedTuple):
    """One parameter that the model fills in.

    Attributes:
        name: as in the signature.
        type: its annotation.
        default: what it is when the model does not say; `inspect.Parameter.empty` where it must.
        positional: whether it cannot be passed by name.
    """

    name: str
    type: Any
    default: Any
    positional: bool


class Signature(NamedTuple):
    """What a function takes.

    Attributes:
        parameters: those that the model fills in, in order.
        order: the names of those that are passed by place, the context's included, in order.
        context: the name of the parameter for the `ToolContext`; None where there is none.
    """

    parameters: tuple[Parameter, ...]
    order: tuple[str, ...]
    context: str | None


class UnknownNameError(ConfigurationError):
    """An annotation names what is not known, or not yet."""


def signature_of(function: Callable[..., Any], name: str, names: Mapping[str, Any], *, method: bool) -> Signature:
    """Read the signature of a function.

    Args:
        function: what was decorated; of a `classmethod` what is in it.
        name: what messages call it.
        names: those that were known where it was decorated, beside those of its module.
        method: whether its first parameter is the instance, and so none of the model's.

    Raises:
        UnknownNameError: an annotation cannot be resolved yet.
        ConfigurationError: it has parameters that a model cannot fill in; names the first.
    """
    found = raw_signature(function, name)
    fixed = function.keywords if isinstance(function, partial) else {}
    given = [one for one in found.parameters.values() if one.name not in fixed][1 if method else 0 :]
    for one in given:
        _check_kind(one, name)
    hints = _hints(function, [one.name for one in given], name, names)
    filled: list[Parameter] = []
    context: str | None = None
    for one in given:
        if _is_context(hints[one.name], one.name, name):
            if context is not None:
                raise ConfigurationError(f"{name}: {context!r} and {one.name!r} are both a ToolContext: one is enough")
            context = one.name
            continue
        if one.name in _RESERVED:
            raise ConfigurationError(
                f"{name}: the API takes no parameter that is called {one.name!r}, which is a word of its schemas: "
                "rename it"
            )
        filled.append(Parameter(one.name, hints[one.name], one.default, one.kind is one.POSITIONAL_ONLY))
    order = tuple(one.name for one in given if one.kind is one.POSITIONAL_ONLY)
    return Signature(tuple(filled), order, context)


def raw_signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    """The signature as Python has it.

    Raises:
        ConfigurationError: it has none.
    """
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise ConfigurationError(f"{name}: Python knows no signature of it ({problem}): wrap it in a function with types")


def inner_of(function: Any) -> Any:
    """The function, or the object that is called like one, inside of partials, methods and what makes them."""
    while isinstance(function, (partial, types.MethodType, staticmethod, classmethod)):
        function = function.func if isinstance(function, partial) else function.__func__
    return function


def definition_of(function: Any) -> Any:
    """The function in which the annotations of something callable stand."""
    inner = inner_of(function)
    return inspect.unwrap(inner) if inspect.isroutine(inner) else type(inner).__call__


def takes_instance(function: Any, name: str) -> bool | None:
    """Whether the first parameter of a function is an instance or a class; None where that is told by its use.

    Raises:
        ConfigurationError: Python knows no signature of it.
    """
    if isinstance(function, classmethod):
        return True
    first = next(iter(raw_signature(function, name).parameters.values()), None)
    if (
        first is None
        or not _in_class(function)
        or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)
    ):
        return False
    return True if first.annotation is first.empty else None


def names_around(frame: FrameType | None) -> Mapping[str, Any]:
    """The local names where a function is defined: of the class and the function around it; none in a module."""
    scopes: list[Mapping[str, Any]] = []
    while frame is not None and frame.f_code.co_name != "<module>":
        scopes.append(frame.f_locals)
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            break  # a function; what is around that is not to be seen from here
        frame = frame.f_back
    return ChainMap(*map(dict, scopes)) if scopes else {}


def _in_class(function: Any) -> bool:
    """Whether a function stands in the body of a class."""
    outer, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    return inspect.isfunction(inspect.unwrap(function)) and bool(outer) and not outer.endswith("<locals>")


def _check_kind(parameter: inspect.Parameter, name: str) -> None:
    if parameter.kind in _VARIADIC:
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise ConfigurationError(
            f"{name}: a model cannot fill in {stars}{parameter.name}: name the parameters, or take a list or a dict"
        )
    if parameter.annotation is parameter.empty:
        hint = (
            ". Is this a method? Decorate it in its class, above @classmethod or @staticmethod, and take it from an "
            "instance"
            if parameter.name in ("self", "cls")
            else ", with Any for whatever JSON it may be"
        )
        raise ConfigurationError(f"{name}: the parameter {parameter.name!r} has no type: annotate it{hint}")


def _hints(function: Any, wanted: list[str], name: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """The types of parameters, whatever the rest of the signature may say."""
    definition = definition_of(function)
    found = raw_signature(function, name).parameters
    holder = types.SimpleNamespace(__annotations__={one: found[one].annotation for one in wanted})
    closure = _closure_of(definition)
    try:
        return typing.get_type_hints(
            holder,
            globalns=getattr(definition, "__globals__", {}),
            localns=ChainMap(closure, dict(names)),
            include_extras=True,
        )
    except NameError as error:
        problem: str = str(error)
    except Exception as error:  # noqa: BLE001  # evaluating an annotation may raise whatever it likes
        raise ConfigurationError(f"{name}: its annotations cannot be read: {error}") from None
    raise UnknownNameError(f"{name}: its annotations cannot be read: {problem}")


def _closure_of(function: Any) -> dict[str, Any]:
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):
        return {}


def _is_context(hint: Any, parameter: str, name: str) -> bool:
    """Whether a parameter is for the context: `ToolContext`, `ToolContext[Deps]`, or either or None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    options = tuple(option for option in options if option is not types.NoneType)
    if len(options) == 1 and ToolContext in (options[0], get_origin(options[0])):
        return True
    if _holds_context(hint):
        raise ConfigurationError(
            f"{name}: {parameter!r} is to be a ToolContext or ToolContext[…] as it is, or with None, and nothing else"
        )
    return False


def _holds_context(hint: Any) -> bool:
    if isinstance(hint, type) and get_origin(hint) is None:
        return issubclass(hint, ToolContext)
    return get_origin(hint) is ToolContext or any(_holds_context(inner) for inner in get_args(hint))
