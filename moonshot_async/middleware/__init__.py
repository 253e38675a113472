"""Middleware: what happens around each request, composed once per client.

A middleware is `async (request, call_next) -> response`. The first in the list is the outermost: it sees a request
first and its outcome last. Errors arrive as exceptions; a response that comes back is good and open, and whoever does
not hand it on closes it.

A layer that ends by `Request.deadline` whatever it waits for says so with an attribute `keeps_deadline = True`; a chain
with others in it is bounded from outside, which costs more.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from moonshot_async.wire import Request, Response

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Middleware: TypeAlias = Callable[[Request, Handler], Awaitable[Response]]
