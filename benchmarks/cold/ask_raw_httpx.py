import asyncio
import sys

import httpx


async def main() -> None:
    ask = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    async with httpx.AsyncClient(headers={"Authorization": "Bearer sk-benchmark"}, timeout=600) as client:
        response = await client.post(f"{sys.argv[1]}/chat/completions", json=ask)
        print(response.raise_for_status().json()["choices"][0]["message"]["content"])


asyncio.run(main())
