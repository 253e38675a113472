"""What each layer of this SDK adds to a call, without a network."""

import asyncio
import contextlib
import json
import logging
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from benchmarks.answers import ASK
from benchmarks.scenarios.base import Figure, Figures, Run, Scenario, Size

_NAMES = {
    "cpu_us": "CPU µs a call",
    "no_retries": "without retries",
    "middleware": "+ a middleware of yours",
    "three": "+ three",
    "limits": "+ limits",
    "breaker": "+ breaker",
    "key_function": "+ key function",
    "log": "+ log, debug",
}
_ROUNDS = 15


def scenarios(size: Size) -> list[Scenario]:
    """All layers in one table, and what the limits cost where many calls are in flight."""
    figures = tuple(Figure(name, title) for name, title in _NAMES.items())
    calls = size.count(400, 20)
    at_once = size.count(512, 16)
    crowded = (Figure("cpu_us", "CPU µs a call"), Figure("limits", "+ limits"))
    return [
        Scenario("layers", "Calls in memory, by layer", figures, partial(layers, calls=calls), None, clients=("ours",)),
        Scenario(
            f"limits-{at_once}",
            f"Calls in memory, {at_once} at once, limits that let 64 of them through",
            crowded,
            partial(crowding, calls=calls, at_once=at_once),
            None,
            clients=("ours",),
        ),
    ]


async def layers(run: Run, calls: int) -> Figures:
    """Take turns; each figure but the first is the difference to it, and may be negative."""
    from moonshot_async import CircuitBreaker, RateLimits

    async def key() -> str:
        return "sk-benchmark"

    options: dict[str, dict[str, Any]] = {
        "cpu_us": {},
        "no_retries": {"max_retries": 0},
        "middleware": {"middleware": [_handing_on]},
        "three": {"middleware": [_handing_on] * 3},
        "limits": {"limits": RateLimits(concurrency=1000, rpm=10**9, tpm=10**12)},
        "breaker": {"breaker": CircuitBreaker()},
        "key_function": {"api_key": key},
        "log": {},
    }
    async with _clients(options) as clients:
        return await _compared({name: partial(_one_by_one, client, calls) for name, client in clients.items()}, calls)


async def crowding(run: Run, calls: int, at_once: int) -> Figures:
    """All calls want to go at once."""
    from moonshot_async import RateLimits

    options = {"cpu_us": {}, "limits": {"limits": RateLimits(concurrency=64, rpm=10**9, tpm=10**12)}}
    total = max(calls, at_once) // at_once * at_once

    async def work(client: Any) -> None:
        for _ in range(total // at_once):
            await client.chat.completions.create(**ASK)

    async def crowd(client: Any) -> None:
        await asyncio.gather(*(work(client) for _ in range(at_once)))

    async with _clients(options) as clients:
        return await _compared({name: partial(crowd, client) for name, client in clients.items()}, total)


async def _compared(ways: dict[str, Callable[[], Awaitable[None]]], calls: int) -> Figures:
    """Medians of rounds in which the ways take turns, in CPU µs a call; all but the first as what they add to it."""
    logger = logging.getLogger("moonshot_async")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            # As somebody who wants to see it has it, without what writing it somewhere costs.
            logger.setLevel(logging.DEBUG if name == "log" else logging.NOTSET)
            started = time.process_time()
            await way()
            times[name].append((time.process_time() - started) / calls * 1e6)
    logger.setLevel(logging.NOTSET)
    base = times["cpu_us"]
    added = {name: statistics.median(map(float.__sub__, mine, base)) for name, mine in times.items()}
    return added | {"cpu_us": statistics.median(base)}


@contextlib.asynccontextmanager
async def _clients(options: dict[str, dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    from moonshot_async import AsyncMoonshot, MemoryTransport, Response

    message = {"role": "assistant", "content": "Because air scatters short waves of light more."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 11, "total_tokens": 20}
    body = {"id": "1", "created": 1, "model": "kimi-k2.6", "object": "chat.completion", "choices": [choice]}
    data = json.dumps({**body, "usage": usage}).encode()

    async def app(request: Any) -> Response:
        return Response(200, [("content-type", "application/json")], data)

    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                AsyncMoonshot(**{"api_key": "sk-benchmark", "transport": MemoryTransport(app), **changes})
            )
            for name, changes in options.items()
        }


async def _one_by_one(client: Any, calls: int) -> None:
    for _ in range(calls):
        await client.chat.completions.create(**ASK)


async def _handing_on(request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
    return await call_next(request)
