"""The envelope in which the older endpoints put their answer: `{"code": 0, "scode": "0x0", "status": true, "data": …}`.

Success is `code == 0`, whatever the HTTP status says. Newer servers leave everything but `data` out.
"""

from typing import Any, Final

from moonshot_async.errors import APIError, APIResponseValidationError
from moonshot_async.types.model import Model, shallow

_MESSAGE_CHARS: Final = 2000


class Envelope(Model, kw_only=True):
    """What stands around the answer; structs for an endpoint add `data`."""

    code: int | str = 0
    scode: str = ""
    status: bool = True


def check_envelope(envelope: Envelope, data: object) -> None:
    """Refuse an envelope that tells of a failure, or that is empty.

    Raises:
        APIError: its code says that the call failed; `.body` is the envelope, `.code` its code.
        APIResponseValidationError: there is nothing in it.
    """
    if str(envelope.code) != "0":
        body: dict[str, Any] = shallow(envelope.model_dump(exclude_none=True))
        said = [body[name] for name in ("message", "msg") if isinstance(body.get(name), str)]
        text = said[0][:_MESSAGE_CHARS] if said else "The service could not answer"
        raise APIError(f"{text} (code {envelope.code}, scode {envelope.scode or 'none'})", body=body)
    if data is None:
        raise APIResponseValidationError(message="The answer is not what the API documents: it has no data.")
