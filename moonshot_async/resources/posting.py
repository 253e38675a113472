"""Requests with a JSON body, for sections whose methods name their keywords one by one."""

from typing import Any

import msgspec

from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.call import BodyOptions, check_options, take_options
from moonshot_async.types.encoding import encode
from moonshot_async.wire import Request


def post(
    pipeline: Pipeline, path: str, body: msgspec.Struct, options: BodyOptions, *, call: str, once: bool = False
) -> Request:
    """Make the request of a call that sends `body`; see `Request` for `once`.

    Raises:
        TypeError: a keyword is none of `BodyOptions`, or a value has no JSON form.
        ConfigurationError: a header, the timeout or a text cannot be sent.
    """
    given: dict[str, Any] = {**options}
    extra_body = given.pop("extra_body", None)
    check_options(given, call=call)
    return pipeline.request("POST", path, encode(body, extra_body or None), once=once, **take_options(given))
