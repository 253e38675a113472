"""The base of every response struct, and the decoder that forgives what servers do.

Structs are decoded strictly first, straight from bytes. Whatever that refuses (a field nobody knows yet, a null where
a default would do, a lone surrogate) goes through a slower, forgiving path that keeps unknown fields as attributes, so
that nothing the server said is lost and the common case pays nothing for it.
"""

import copy
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from moonshot_async.errors import APIError, APIResponseValidationError

T = TypeVar("T")
_EXCERPT_CHARS = 2000
# Error objects are cut below this depth: copying and pickling recurse.
_ERROR_LEVELS = 32


class Model(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, repr_omit_defaults=True):
    """A response object. Fields that the SDK does not know are attributes too, and part of every dump."""

    # Named in JSON as no server names a field: whatever comes under `_extra` is an unknown field like any other.
    _extra: dict[str, Any] | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="<extra>")

    if not TYPE_CHECKING:  # pragma: no branch - type checkers shall know the documented fields only

        def __getattr__(self, name: str) -> Any:
            extra = self._extra
            if extra is not msgspec.UNSET and name in extra:
                return extra[name]
            raise AttributeError(f"{type(self).__name__} has no field {name!r}, and the server sent none")

    @property
    def model_extra(self) -> dict[str, Any]:
        """The fields that the server sent beyond the documented ones."""
        return {} if isinstance(self._extra, msgspec.UnsetType) else self._extra

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """Make one of plain data, as forgivingly as of an answer.

        Raises:
            APIResponseValidationError: the data has another shape.
        """
        return ModelDecoder(cls)(msgspec.json.encode(obj))

    def model_copy(self) -> Self:
        """A shallow copy, unknown fields included."""
        return copy.copy(self)

    def to_dict(
        self, *, mode: str = "python", exclude_unset: bool = True, exclude_none: bool = False
    ) -> dict[str, Any]:
        """Plain dicts and lists, for logging or storing; fields that only hold None by default are left out."""
        return self.model_dump(mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none)

    def to_json(self, *, indent: int | None = 2, exclude_unset: bool = True) -> str:
        """The JSON text of `to_dict`."""
        return self.model_dump_json(indent=indent, exclude_unset=exclude_unset)

    def model_dump(
        self,
        *,
        mode: str = "python",
        by_alias: bool | None = None,
        exclude_unset: bool = False,
        exclude_none: bool = False,
    ) -> dict[str, Any]:
        """Plain dicts and lists with every field, or without those that only hold None.

        `mode` and `by_alias` make no difference: the values have JSON forms and the fields no other names.
        """
        out: dict[str, Any] = {}
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            left_out = value is None and (exclude_none or (exclude_unset and field.default is None))
            if not left_out and not field.name.startswith("_"):
                out[field.encode_name] = _dump(value, exclude_unset, exclude_none)
        return out | {name: value for name, value in self.model_extra.items() if not (exclude_none and value is None)}

    def model_dump_json(
        self,
        *,
        indent: int | None = None,
        by_alias: bool | None = None,
        exclude_unset: bool = False,
        exclude_none: bool = False,
    ) -> str:
        """The JSON text of `model_dump`."""
        data = msgspec.json.encode(self.model_dump(exclude_unset=exclude_unset, exclude_none=exclude_none))
        return (msgspec.json.format(data, indent=indent) if indent else data).decode()


class Answer(Model, kw_only=True):
    """A response object that is a whole answer of the API."""

    _request_id: str | msgspec.UnsetType | None = msgspec.field(default=msgspec.UNSET, name="<request_id>")

    @property
    def request_id(self) -> str | None:
        """The id under which the vendor finds the call again, from the response headers."""
        return None if isinstance(self._request_id, msgspec.UnsetType) else self._request_id


def _dump(value: Any, exclude_unset: bool, exclude_none: bool) -> Any:
    if isinstance(value, Model):
        return value.model_dump(exclude_unset=exclude_unset, exclude_none=exclude_none)
    if isinstance(value, list):
        return [_dump(item, exclude_unset, exclude_none) for item in value]
    return value


class ModelDecoder(Generic[T]):
    """Decode JSON bytes into `cls`: strictly first, forgivingly where that fails.

    Raises:
        APIError: the bytes are an error object (`{"error": …}`) instead of an answer.
        APIResponseValidationError: they are not JSON, or not of the documented shape.
    """

    def __init__(self, cls: type[T]) -> None:
        self.cls = cls
        self._strict: Callable[[bytes], T] = msgspec.json.Decoder(cls).decode

    def __call__(self, data: bytes) -> T:
        try:
            return self._strict(data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            pass
        return self._forgiving(data)

    def _forgiving(self, data: bytes) -> T:
        tree = parse(data)
        if isinstance(tree, dict) and tree.get("error"):
            raise error_event(tree["error"])
        try:
            return _build(self.cls, tree)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            reason = str(error)
        raise APIResponseValidationError(
            body=excerpt(data), message=f"The answer is not what the API documents: {reason}."
        )


def error_event(error: object) -> APIError:
    """The exception for an error object that came where an answer was expected, inside a stream or with status 200."""
    body = shallow(error)
    if isinstance(body, dict):
        message = body.get("message")
        text = message if isinstance(message, str) and message else "The server sent an error."
    else:
        text = str(body)
    return APIError(text[:_EXCERPT_CHARS], body=body)


def shallow(tree: Any, levels: int = _ERROR_LEVELS) -> Any:
    """Plain data without what lies deeper than `levels`, so that an error that holds it can be copied and pickled."""
    if isinstance(tree, dict):
        return {name: shallow(value, levels - 1) for name, value in tree.items()} if levels else "…"
    if isinstance(tree, list):
        return [shallow(item, levels - 1) for item in tree] if levels else "…"
    return tree


def parse(data: bytes) -> Any:
    """Decode JSON bytes to plain data, mended where other decoders would accept them.

    Raises:
        APIResponseValidationError: they are not JSON.
    """
    for candidate in (data, _mend(data)):
        try:
            return msgspec.json.decode(candidate)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
    what = "an HTML page" if data.lstrip()[:1] == b"<" else "not valid JSON" if data.strip() else "empty"
    raise APIResponseValidationError(
        body=excerpt(data), message=f"The answer is not what the API documents: it is {what}."
    )


def excerpt(data: bytes) -> str:
    """The beginning of what came, for an error."""
    return data[:_EXCERPT_CHARS].decode("utf-8", "replace")


# A surrogate escape that is not half of a pair. Even runs of backslashes before it are escaped backslashes.
_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _mend(data: bytes) -> bytes:
    """Make JSON of bytes that other decoders accept: no BOM, valid UTF-8, lone surrogates replaced by U+FFFD."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").encode()
    # A whole pair is 12 bytes long and stays.
    return _SURROGATE.sub(lambda m: m[0] if len(m[2]) == 12 else m[1] + b"\\ufffd", text)


class _Plan(msgspec.Struct):
    """How the forgiving path treats one field of a struct."""

    struct: type[Any] | None
    nullable: bool
    required: bool
    integer: bool


@cache
def _plan(cls: type[Any]) -> dict[str, _Plan]:
    import msgspec.inspect as inspect

    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    plan = {}
    for field in info.fields:
        members = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        items = [m.item_type if isinstance(m, inspect.ListType) else m for m in members]
        structs = [m.cls for m in items if isinstance(m, inspect.StructType)]
        plan[field.encode_name] = _Plan(
            struct=structs[0] if structs else None,
            nullable=any(isinstance(m, (inspect.NoneType, inspect.AnyType)) for m in members),
            required=field.required,
            integer=any(isinstance(m, inspect.IntType) for m in members),
        )
    return plan


def _build(cls: type[T], tree: Any) -> T:
    """Convert plain data to `cls`, keeping what it does not know and using defaults where null has no meaning."""
    if not isinstance(tree, dict) or not isinstance(cls, type) or not issubclass(cls, Model):
        return msgspec.convert(tree, cls)
    plan = _plan(cls)
    known: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    for name, value in tree.items():
        field = plan.get(name)
        if field is None:
            extras[name] = value
        elif value is None and not field.nullable and not field.required:
            continue
        elif field.struct is not None and isinstance(value, list):
            known[name] = [_build(field.struct, item) for item in value]
        elif field.struct is not None and isinstance(value, dict):
            known[name] = _build(field.struct, value)
        elif field.integer and isinstance(value, float):
            known[name] = int(value)
        else:
            known[name] = value
    model = msgspec.convert(known, cls)
    if extras and isinstance(model, Model):
        model._extra = extras
    return model
