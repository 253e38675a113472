"""The forgiving way from an answer to structs: for what strict decoding refuses.

Most answers that come this way have a field that nobody knows yet. So whatever has none is left to msgspec as a whole,
and only the objects above such a field are taken apart.
"""

from functools import cache
from typing import Any, Final, TypeVar, cast, get_origin

import msgspec
import msgspec.inspect as inspect

from moonshot_async.types.model import Model

T = TypeVar("T")

# To look whether a list may be left as it is costs as much as some of its items.
_MANY: Final = 8


class Plan(msgspec.Struct, frozen=True):
    """How one field of a struct is treated.

    Attributes:
        struct: the struct that it holds, or a list of them.
        ours: whether that keeps unknown fields.
        listed: the type of such a list.
        nullable: whether null means something.
        required: whether it has no default.
        integer: whether it is a whole number.
    """

    struct: type[Any] | None
    ours: bool
    listed: Any
    nullable: bool
    required: bool
    integer: bool


@cache
def plan_of(cls: type[Any]) -> dict[str, Plan]:
    """The plans for the fields of a struct, by their names in JSON."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    plan = {}
    for field in info.fields:
        members = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        items = [m.item_type if isinstance(m, inspect.ListType) else m for m in members]
        structs = [m.cls for m in items if isinstance(m, inspect.StructType)]
        plan[field.encode_name] = Plan(
            struct=structs[0] if structs else None,
            ours=bool(structs) and issubclass(structs[0], Model),
            listed=list[structs[0]] if structs else None,  # type: ignore[valid-type]  # found at run time
            nullable=any(isinstance(m, (inspect.NoneType, inspect.AnyType)) for m in members),
            required=field.required,
            integer=any(isinstance(m, inspect.IntType) for m in members),
        )
    return plan


def build(cls: type[T], tree: Any) -> T:
    """Convert plain data to `cls`, keeping what it does not know and using defaults where null has no meaning.

    The data is taken apart for it: whoever gave it does not use it any more.

    Raises:
        msgspec.ValidationError: it has another shape.
    """
    struct: Any = cls if isinstance(cls, type) else get_origin(cls)
    if isinstance(tree, dict) and isinstance(struct, type) and issubclass(struct, Model):
        return cast("T", _built(cls, tree))
    return msgspec.convert(tree, cls)


def _built(cls: Any, tree: dict[str, Any]) -> Any:
    plan = plan_of(cls)
    # Most objects need none of these.
    unknown: list[str] | None = None
    unsaid: list[str] | None = None
    for name, value in tree.items():
        field = plan.get(name)
        if field is None:
            unknown = unknown or []
            unknown.append(name)
        elif type(value) is str:
            continue
        elif value is None:
            if not field.nullable and not field.required:
                unsaid = unsaid or []
                unsaid.append(name)
        elif field.struct is not None:
            tree[name] = _below(field, value)
        elif field.integer and isinstance(value, float):
            tree[name] = int(value)
    for name in unsaid or ():
        del tree[name]
    if unknown is None:
        return msgspec.convert(tree, cls)
    extras = {name: tree.pop(name) for name in unknown}
    model = msgspec.convert(tree, cls)
    model._extra = extras
    return model


def _below(field: Plan, value: Any) -> Any:
    """What a field holds whose type is a struct or a list of them."""
    if isinstance(value, list):
        if len(value) >= _MANY:
            try:
                # Mostly they are as they should be: 40 times as fast as one by one.
                return msgspec.convert(value, field.listed)
            except msgspec.ValidationError:
                pass
        return [_item(field, item) for item in value]
    return _item(field, value)


def _item(field: Plan, item: Any) -> Any:
    # What is no object is refused when what holds it is converted.
    return _built(field.struct, item) if isinstance(item, dict) and field.ours else item
