"""The base of every response struct: unknown fields are attributes, and dumps are those of openai's objects."""

import copy
from collections.abc import Collection, Mapping
from os import urandom
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import msgspec

from moonshot_async.types.decoding import NOT_STRICT as NOT_STRICT
from moonshot_async.types.decoding import Decode as Decode
from moonshot_async.types.decoding import ModelDecoder as ModelDecoder
from moonshot_async.types.dumping import check_names, default_of, fields_of, said_by
from moonshot_async.types.json_text import decode_within as decode_within
from moonshot_async.types.json_text import error_event as error_event
from moonshot_async.types.json_text import excerpt as excerpt
from moonshot_async.types.json_text import parse as parse
from moonshot_async.types.json_text import shallow as shallow

# A name in JSON that no server can know: whatever comes under `_extra` is an unknown field like any other.
_UNGUESSED: Final = f"<{urandom(8).hex()}>"


class Model(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A response object. Fields that the SDK does not know are attributes too, and part of every dump."""

    # The class as openai calls it, and the fields that it does not have: those are shown and dumped once they are set.
    _shown_as: ClassVar[str]
    _added: ClassVar[frozenset[str]] = frozenset()

    _extra: dict[str, Any] | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=_UNGUESSED)

    if not TYPE_CHECKING:  # pragma: no branch - type checkers shall know the documented fields only

        def __getattr__(self, name: str) -> Any:
            extra = self._extra
            if extra is not msgspec.UNSET and name in extra:
                return extra[name]
            raise AttributeError(f"{type(self).__name__} has no field {name!r}, and the server sent none")

    def __repr__(self) -> str:
        # As openai shows it, for programs that print it.
        values = {field.encode_name: getattr(self, field.name) for field in self._shown()} | self._undocumented()
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"{vars(type(self)).get('_shown_as', type(self).__name__)}({shown})"

    def __ne__(self, other: object) -> bool:
        # Structs have one of their own, which knows nothing of an `__eq__` below.
        return not self == other

    @property
    def model_extra(self) -> dict[str, Any]:
        """What openai's objects do not have either: fields that are not documented, and those of Moonshot that came."""
        unsent = self._unsent()
        came = [field for field in self._shown() if field.name in self._added and field.name not in unsent]
        known = {field.encode_name: _dump(getattr(self, field.name), True, False, False) for field in came}
        return known | self._undocumented()

    @property
    def model_fields_set(self) -> set[str]:
        """The names of the fields in `to_dict()`."""
        return set(self.model_dump(exclude_unset=True))

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """Make one of plain data, as forgivingly as of an answer.

        Raises:
            APIResponseValidationError: the data has another shape.
        """
        return ModelDecoder(cls)(msgspec.json.encode(obj))

    @classmethod
    def model_validate_json(cls, json_data: str | bytes) -> Self:
        """Make one of JSON text, as forgivingly as of an answer.

        Raises:
            APIResponseValidationError: it is not JSON, or has another shape.
        """
        return ModelDecoder(cls)(json_data.encode() if isinstance(json_data, str) else bytes(json_data))

    @classmethod
    def construct(cls, _fields_set: object = None, **values: Any) -> Self:
        """Make one of values that nobody checks, for tests: dicts become structs, what is required and missing None."""
        from moonshot_async.types.forgiving import plan_of

        plan = plan_of(cls)
        known: dict[str, Any] = {}
        for field in msgspec.structs.fields(cls):
            if field.encode_name in values:
                known[field.name] = _constructed(plan[field.encode_name].struct, values.pop(field.encode_name))
            elif field.required:
                known[field.name] = None
        model = cls(**known)
        if values:
            model._extra = values
        return model

    model_construct = construct

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, unknown fields included, with some fields changed; shallow, unless `deep`."""
        twin = copy.deepcopy(self) if deep else copy.copy(self)
        if not isinstance(self._extra, msgspec.UnsetType):
            twin._extra = dict(self._extra)
        for name, value in (update or {}).items():
            if name in self.__struct_fields__:
                setattr(twin, name, value)
            else:
                twin._extra = {**twin._undocumented(), name: value}
        return twin

    def to_dict(
        self,
        *,
        mode: str = "python",
        use_api_names: bool = True,
        exclude_unset: bool = True,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
        warnings: bool = True,
    ) -> dict[str, Any]:
        """Plain dicts and lists, for logging or storing; fields that only hold None by default are left out.

        Args:
            mode, use_api_names, warnings: make no difference.
            exclude_unset, exclude_defaults, exclude_none: as for `model_dump`.
        """
        return self.model_dump(
            mode=mode, exclude_unset=exclude_unset, exclude_defaults=exclude_defaults, exclude_none=exclude_none
        )

    def to_json(
        self,
        *,
        indent: int | None = 2,
        use_api_names: bool = True,
        exclude_unset: bool = True,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
        warnings: bool = True,
    ) -> str:
        """The JSON text of `to_dict`."""
        return self.model_dump_json(
            indent=indent, exclude_unset=exclude_unset, exclude_defaults=exclude_defaults, exclude_none=exclude_none
        )

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        by_alias: bool | None = None,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
    ) -> dict[str, Any]:
        """Plain dicts and lists with every field; those that openai's objects do not have, only once they are set.

        Args:
            mode, by_alias: make no difference: the values have JSON forms and the fields no other names.
            include, exclude: names of fields at the top; what lies deeper is whole.
            exclude_unset: leave out what only holds None by default, or was filled in by the SDK.
            exclude_defaults: leave out what has its default.
            exclude_none: leave out every None.

        Raises:
            TypeError: `include` or `exclude` is no collection of names.
        """
        if exclude_none and include is None and exclude is None and not exclude_unset and not exclude_defaults:
            return self._said()
        check_names(include, exclude)
        unsent = self._unsent() if exclude_unset else ()
        out: dict[str, Any] = {}
        for field in self._shown():
            value = getattr(self, field.name)
            if field.name in unsent:
                continue
            if value is None and (exclude_none or (exclude_unset and field.default is None)):
                continue
            if not (exclude_defaults and value == default_of(field)):
                out[field.encode_name] = _dump(value, exclude_unset, exclude_defaults, exclude_none)
        out |= {name: value for name, value in self._undocumented().items() if not (exclude_none and value is None)}
        if include is None and exclude is None:
            return out
        return {n: v for n, v in out.items() if (include is None or n in include) and n not in (exclude or ())}

    def model_dump_json(
        self,
        *,
        indent: int | None = None,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        by_alias: bool | None = None,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
    ) -> str:
        """The JSON text of `model_dump`."""
        tree = self.model_dump(
            include=include,
            exclude=exclude,
            exclude_unset=exclude_unset,
            exclude_defaults=exclude_defaults,
            exclude_none=exclude_none,
        )
        data = msgspec.json.encode(tree)
        return (msgspec.json.format(data, indent=indent) if indent else data).decode()

    def _undocumented(self) -> dict[str, Any]:
        """The fields that the server sent beyond the documented ones."""
        return {} if isinstance(self._extra, msgspec.UnsetType) else self._extra

    def _shown(self) -> list[msgspec.structs.FieldInfo]:
        """The fields to show: last those that openai's objects do not have, and only once they are set."""
        theirs, ours = fields_of(type(self))
        return [*theirs, *(field for field in ours if getattr(self, field.name, None) is not None)]

    def _said(self) -> dict[str, Any]:
        """The dump without any None, in a tenth of the time: messages that are put back go this way."""
        names, get, ours = said_by(type(self))
        extra, _, *values = get(self)
        out: dict[str, Any] = {}
        # `compat` takes some of ours away where they were not sent.
        values += [getattr(self, name, None) for name in ours]
        for name, value in zip(names, values, strict=True):
            if value is not None:
                out[name] = value if type(value) is str else _dump(value, False, False, True)
        if extra is not msgspec.UNSET:
            out |= {name: value for name, value in extra.items() if value is not None}
        return out

    def _unsent(self) -> Collection[str]:
        """Names of fields that hold what the server did not send there; for structs that complete themselves."""
        return ()


def sent_null() -> Any:
    """A field that may be null and is sent even then: its None stays in `to_dict`."""
    return msgspec.field(default_factory=type(None))


class Answer(Model, kw_only=True):
    """A response object that is a whole answer of the API."""

    _request_id: str | msgspec.UnsetType | None = msgspec.field(default=msgspec.UNSET, name="<request_id>")

    @property
    def request_id(self) -> str | None:
        """The id under which the vendor finds the call again, from the response headers."""
        return None if isinstance(self._request_id, msgspec.UnsetType) else self._request_id

    def __eq__(self, other: object) -> bool:
        """Whether the other one says the same, whatever the ids of their requests."""
        if type(other) is not type(self):
            return NotImplemented
        names = (name for name in self.__struct_fields__ if name != "_request_id")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def _dump(value: Any, exclude_unset: bool, exclude_defaults: bool, exclude_none: bool) -> Any:
    if isinstance(value, Model):
        return value.model_dump(
            exclude_unset=exclude_unset, exclude_defaults=exclude_defaults, exclude_none=exclude_none
        )
    if isinstance(value, list):
        return [_dump(item, exclude_unset, exclude_defaults, exclude_none) for item in value]
    return value


def _constructed(struct: type[Any] | None, value: Any) -> Any:
    if struct is not None and isinstance(value, list):
        return [_constructed(struct, item) for item in value]
    if isinstance(value, dict) and isinstance(struct, type) and issubclass(struct, Model):
        return struct.construct(**value)
    return value
