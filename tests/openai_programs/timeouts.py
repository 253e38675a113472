# ruff: noqa: T201  # what it prints is what is compared
"""How long is waited, by client and by call."""

import asyncio

from openai import APIConnectionError, APITimeoutError, AsyncOpenAI, Timeout

ASK = {
    "messages": [{"role": "user", "content": "How can I list all files in a directory using Python?"}],
    "model": "kimi-k2.6",
}


async def main() -> None:
    patient = AsyncOpenAI(timeout=20.0, max_retries=0)
    print((await patient.chat.completions.create(**ASK)).choices[0].finish_reason)
    granular = AsyncOpenAI(timeout=Timeout(60.0, read=5.0, write=10.0, connect=2.0), max_retries=0)
    print((await granular.chat.completions.create(**ASK)).choices[0].finish_reason)
    print(granular.timeout.read, granular.timeout.write, granular.timeout.connect, granular.timeout.pool)
    print((await patient.chat.completions.create(**ASK, timeout=None)).choices[0].finish_reason)
    # From here on the service is slow.
    for calling in (
        patient.with_options(timeout=0.1).chat.completions.create(**ASK),
        patient.chat.completions.create(**ASK, timeout=0.1),
        patient.chat.completions.create(**ASK, stream=True, timeout=Timeout(0.1)),
        patient.with_options(timeout=Timeout(60.0, read=0.1)).models.list(),
    ):
        try:
            await calling
        except APITimeoutError as error:
            print(isinstance(error, APIConnectionError), error.request.method)


asyncio.run(main())
