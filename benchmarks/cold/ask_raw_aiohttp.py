import asyncio
import sys

import aiohttp
import msgspec


class Message(msgspec.Struct):
    content: str


class Choice(msgspec.Struct):
    message: Message


class Completion(msgspec.Struct):
    choices: list[Choice]


async def main() -> None:
    ask = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    headers = {"Authorization": "Bearer sk-benchmark", "Content-Type": "application/json"}
    clock = aiohttp.ClientTimeout(total=None, sock_read=600)
    async with aiohttp.ClientSession(headers=headers, timeout=clock) as session:
        body = msgspec.json.encode(ask)
        async with session.post(f"{sys.argv[1]}/chat/completions", data=body) as response:
            response.raise_for_status()
            completion = msgspec.json.decode(await response.read(), type=Completion)
    print(completion.choices[0].message.content)


asyncio.run(main())
