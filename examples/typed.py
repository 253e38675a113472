"""Ask for answers of a type: a whole one, then one that is shown while it arrives. Needs MOONSHOT_API_KEY."""

import asyncio
from typing import Annotated

import msgspec

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit.structured import has_come, parse, parse_stream

MODEL = "kimi-k2.6"


class City(msgspec.Struct):
    """A city and what it is known for."""

    name: str
    people: Annotated[int, msgspec.Meta(ge=0, description="who live there, without the suburbs")]
    sights: Annotated[list[str], msgspec.Meta(min_length=1)]


async def main() -> None:
    async with AsyncMoonshot() as client:
        # An answer that is no City is sent back to the model once, with what is wrong in it.
        question = "Which city of China has the most people?"
        city = await parse(client, City, model=MODEL, messages=[{"role": "user", "content": question}], retries=1)
        print(f"{city.name}: {city.people:,} people, {', '.join(city.sights)}")

        # Any type will do. Each of these lists extends the one before; what has not come yet is UNSET.
        messages = [{"role": "user", "content": "Name three cities of China."}]
        async for cities in parse_stream(client, list[City], model=MODEL, messages=messages):
            for city in cities[-1:]:
                name = city.name if has_come(city.name) else "…"
                sights = ", ".join(city.sights) if has_come(city.sights) else "…"
                print(f"{len(cities)}. {name}: {sights}")
    print(f"{len(cities)} cities, {sum(city.people for city in cities):,} people")


if __name__ == "__main__":
    asyncio.run(main())
