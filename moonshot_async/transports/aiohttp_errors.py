"""The exceptions of aiohttp in our words, without what they hold: the headers of the request, and so the key."""

import copy
import os

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from moonshot_async.errors import APIConnectionError, APIError, ResponseTooLargeError
from moonshot_async.transports.heads import HeadWait


def connection_error(error: Exception, wait: HeadWait) -> APIError:
    """The error of a call that got no answer; what an operating system said is kept as its cause."""
    if isinstance(error, ResponseTooLargeError):
        too_large = copy.copy(error)
        too_large.request = wait.request.redacted()
        return too_large
    result = APIConnectionError(message=f"Connection error: {describe(error)}.", request=wait.request)
    result.reused = wait.reused
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno is not None:
        result.__cause__ = OSError(cause.errno, _reason(cause))
    # An address that cannot be used says so every time, a proxy that says no too; and what cannot be read as HTTP is an
    # answer all the same, which may be paid for.
    final = (ValueError, aiohttp.ClientResponseError, aiohttp.ClientPayloadError, HttpProcessingError)
    result.retryable = not isinstance(error, final)
    return result


def describe(error: Exception) -> str:
    """What happened, as the end of a sentence."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"the server's certificate was refused: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} was not found"
        case aiohttp.ClientConnectorError():
            why = error.os_error.strerror or str(error.os_error) or type(error.os_error).__name__
            return f"no connection to {error.host}:{error.port}: {why}"
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "the connection was closed before the body was complete"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered with status {error.status}"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "the answer is not valid HTTP"
        case OSError() if error.errno is not None and (reason := _reason(error)):
            return reason
        case ValueError():
            return "the address cannot be used"
    return f"the connection was closed ({type(error).__name__})"


def _reason(error: OSError) -> str | None:
    # aiohttp: the text of what went wrong while a body was written is the address, query and all.
    ours = isinstance(error, aiohttp.ClientOSError) and error.errno is not None and error.errno > 0
    return os.strerror(error.errno) if ours and error.errno is not None else error.strerror
