"""Models and dataclasses of pydantic while they arrive.

A model may say in many ways that its values are not what comes: where it does, it is told when it is whole, or the
field is. What is left is told as it is by other types.
"""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Annotated, Any, Final, get_args

from moonshot_async.toolkit.structured.partial_plans import bare_of, plan_of, reader, takes_of
from moonshot_async.toolkit.structured.partial_shapes import (
    HOLD,
    UNSET,
    Fields,
    Held,
    ObjectShape,
    Plan,
    TaggedShapes,
    Takes,
)

_SCHEMA: Final = "__get_pydantic_core_schema__"
# Settings that change no value.
_HARMLESS: Final = frozenset(
    (
        "alias_generator",
        "arbitrary_types_allowed",
        "extra",
        "from_attributes",
        "frozen",
        "hide_input_in_errors",
        "json_schema_extra",
        "populate_by_name",
        "protected_namespaces",
        "strict",
        "title",
        "use_attribute_docstrings",
        "validate_assignment",
        "validate_by_alias",
        "validate_by_name",
        "validate_default",
    )
)


def model_shape(cls: Any) -> ObjectShape | Held:
    """The shape of a model or a dataclass of pydantic; `HOLD` where only the whole of it is sure.

    Raises:
        TypeError, AttributeError: it is none that is known.
    """
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    made, infos = cls.__pydantic_decorators__, cls.__pydantic_fields__
    before = any(one.info.mode != "after" for one in made.model_validators.values())
    if before or made.root_validators or not _HARMLESS.issuperset(config) or _is_made_otherwise(cls):
        return HOLD
    checked = {name for one in (*made.field_validators.values(), *made.validators.values()) for name in one.info.fields}

    def load() -> Fields:
        fields: dict[str, tuple[str, Plan]] = {}
        for name, info in infos.items():
            if name not in checked and "*" not in checked:
                plan = _plan(info)
                fields |= dict.fromkeys(_names(name, info, config), (name, plan))
        return fields

    remade = bool(made.model_validators) or any(
        hasattr(cls, hook) for hook in ("__post_init__", "__post_init_post_parse__")
    )
    # What is extra is in the whole alone.
    remade = remade or bool(getattr(cls, "__pydantic_post_init__", None)) or config.get("extra") == "allow"
    make = _model_of(cls) if hasattr(cls, "model_fields") else bare_of(cls, list(infos))
    return ObjectShape(make, load, dict.fromkeys(infos, UNSET), remade=remade)


def _is_made_otherwise(cls: Any) -> bool:
    """Whether a class says by itself what its values are: a root, an `__init__` or a schema of its own."""
    if getattr(cls, "__pydantic_root_model__", False) or getattr(cls, "__pydantic_custom_init__", False):
        return True
    return any(_SCHEMA in vars(base) for base in cls.__mro__ if base.__module__ != "pydantic.main")


def _model_of(cls: Any) -> Callable[[dict[str, Any]], Any]:
    """What makes models as `model_construct` does, but with no defaults and without `model_post_init`."""
    if cls.__new__ is not object.__new__:
        raise TypeError(f"{cls.__name__} has a __new__ of its own")
    put = object.__setattr__
    extra = cls.model_config.get("extra") == "allow"
    private = bool(cls.__private_attributes__)

    def make(members: dict[str, Any]) -> Any:
        model = cls.__new__(cls)
        put(model, "__dict__", members)
        put(model, "__pydantic_fields_set__", {name for name, value in members.items() if value is not UNSET})
        put(model, "__pydantic_extra__", {} if extra else None)
        put(model, "__pydantic_private__", {} if private else None)
        return model

    return make


def _names(name: str, info: Any, config: Mapping[str, Any]) -> set[str]:
    """The names in JSON that a field may have."""
    alias = info.validation_alias
    names = {name} if alias is None or config.get("populate_by_name") or config.get("validate_by_name") else set()
    choices = getattr(alias, "choices", [alias])
    return names | {choice for choice in choices if isinstance(choice, str)}


def _plan(info: Any) -> Plan:
    if isinstance(info.discriminator, str):
        type_ = Annotated[info.annotation, info]
        return Plan(Takes(object=_tagged(info)), lambda: reader(type_, pydantic=True))
    return plan_of(Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation, pydantic=True)


def _tagged(info: Any) -> TaggedShapes | Held:
    """The shapes of a union with a discriminator, by the values that its models say in `Literal`."""
    shapes: dict[Any, ObjectShape] = {}
    aliases = {info.discriminator}
    for model in get_args(info.annotation):
        if model is NoneType:
            continue
        shape = takes_of(model, pydantic=True).object
        if not isinstance(shape, ObjectShape) or not hasattr(model, "__pydantic_fields__"):
            return HOLD
        field = model.__pydantic_fields__[info.discriminator]
        aliases |= {field.validation_alias or info.discriminator}
        shapes |= dict.fromkeys(get_args(field.annotation), shape)
    aliases -= {info.discriminator} if len(aliases) > 1 else set()
    return TaggedShapes(aliases.pop(), shapes) if len(aliases) == 1 else HOLD
