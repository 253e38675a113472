"""What a run of a batch was told, as far as it can be checked before anything happens."""

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.headers import Unshown
from moonshot_async.resources.batch_files import Requests
from moonshot_async.resources.call import CallOptions, path_segment
from moonshot_async.types.batches import CHAT_ENDPOINT, DEFAULT_WINDOW, Batch


class RunPlan(Unshown, msgspec.Struct, kw_only=True):
    """What `batches.run` was told; see there."""

    requests: Requests | None
    model: str | None = None
    endpoint: str = CHAT_ENDPOINT
    completion_window: str = DEFAULT_WINDOW
    metadata: Mapping[str, str] | None = None
    batch_id: str | None = None
    skip: Iterable[str] = ()
    on_batch: Callable[[Batch], object] | None = None
    poll_interval: float = 2.0
    max_wait: float | None = None
    resume: bool = False
    cleanup: bool = False
    check: bool = True
    join: bool = True
    options: CallOptions
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform

    def __post_init__(self) -> None:
        single = isinstance(self.requests, (str, bytes, Mapping)) or not isinstance(
            self.requests, (Iterable, AsyncIterable, type(None))
        )
        if single:
            raise TypeError(f"requests must be an iterable of requests, not {type(self.requests).__name__}")
        if isinstance(self.skip, (str, bytes)):
            raise TypeError("skip must be an iterable of ids, not one text")
        if self.batch_id is None and self.requests is None:
            raise TypeError("run() needs requests, or the batch_id of a batch that was made of them")
        if self.batch_id is not None:
            path_segment(self.batch_id, "batch_id")
        for name in ("poll_interval", "max_wait"):
            seconds = getattr(self, name)
            if seconds is not None and (isinstance(seconds, bool) or not seconds > 0):
                raise ConfigurationError(f"{name} must be a positive number of seconds, not {seconds!r}")
