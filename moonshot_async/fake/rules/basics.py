"""What all rules share: the refusal, and the checks of JSON kinds."""

from collections.abc import Iterable, Mapping
from typing import Any

from moonshot_async.fake import mfjs

Payload = Mapping[str, Any]


class RefusedError(Exception):
    """An error answer with its status, type and message."""

    def __init__(self, message: str, *, status: int = 400, type: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type


def not_found(kind: str, id: str) -> RefusedError:
    """The refusal of an id that names nothing, or something of another account."""
    return RefusedError(f"Not found the {kind} {id} or Permission denied", status=404, type="resource_not_found_error")


def expect(payload: Payload, name: str, kinds: type | tuple[type, ...], text: str) -> None:
    """Refuse a value that is neither absent, null nor of `kinds`; a boolean is no number."""
    value = payload.get(name)
    if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
        raise RefusedError(f"Invalid request: {name} must be {text}")


def check_schema(schema: Payload, name: str, root_name: str) -> None:
    """Refuse a JSON schema that is not in Moonshot's dialect.

    Args:
        schema: what to check.
        name: what the service calls it.
        root_name: what it calls it when the root is no object.
    """
    if schema and not mfjs.describes_object(schema):
        raise RefusedError(f'Invalid request: {root_name}.type is required and must be "object"')
    try:
        mfjs.check(schema)
    except mfjs.MFJSError as error:
        raise RefusedError(
            f"Invalid request: {name} is not a valid moonshot flavored json schema, details: <{error}>"
        ) from None


def all_tools(payload: Payload) -> Iterable[Payload]:
    """The tools of the request, then those that its messages load."""
    yield from payload.get("tools") or ()
    for message in payload["messages"]:
        yield from message.get("tools") or ()
