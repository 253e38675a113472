"""The types of answers that have one; read by mypy, not run."""

from typing import Any, assert_type

import msgspec

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit.structured import ParsedAnswer, ParsedStream, parse, parse_answer, parse_stream


class City(msgspec.Struct):
    name: str


async def values(client: AsyncMoonshot) -> None:
    assert_type(await parse(client, City, model="m", messages=[]), City)
    assert_type(await parse(client, list[City], model="m", messages=[], retries=1, timeout=5), list[City])
    assert_type(await parse(client, City | None, model="m", messages=[]), Any)
    assert_type(await parse_answer(client, City, model="m", messages=[]), ParsedAnswer[City])
    assert_type(parse_stream(client, City, model="m", messages=[]), ParsedStream[City])
    async for partial in parse_stream(client, City, model="m", messages=[]):
        assert_type(partial, City)
    async with parse_stream(client, City, model="m", messages=[]) as stream:
        assert_type(await stream.value(), City)
    await parse(client, City, model="m", messages=[], temprature=1)  # type: ignore[call-overload]
