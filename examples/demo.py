"""A streamed answer, with no key and no network: `make demo`, `make demo PROMPT='...'` or `make demo PROMPT=@file`.

The embedded fake of the API is served over HTTP on this machine, and asked through the same transport that the real API
is asked through. Where the environment has MOONSHOT_API_KEY (or KIMI_API_KEY), the real API is asked instead.
"""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from moonshot_async import AsyncMoonshot, ChatCompletion, MoonshotError
from moonshot_async.fake import FakeMoonshot

MODEL = "kimi-k2.6"
DEFAULT_PROMPT = "Why is the sky blue, and why are sunsets red?"


async def main(prompt: str) -> None:
    async with AsyncExitStack() as stack:
        if os.environ.get("MOONSHOT_API_KEY") or os.environ.get("KIMI_API_KEY"):
            client = await stack.enter_async_context(AsyncMoonshot())
            where = f"the real API at {client.base_url}: this call is billed to your account."
        else:
            url = await stack.enter_async_context(FakeMoonshot(chunk_latency=0.02).serve(port=0))
            client = await stack.enter_async_context(AsyncMoonshot(api_key="sk-demo", base_url=url))
            where = f"the embedded fake at {client.base_url}: nothing leaves this machine, and no model thinks."
        print(f"Asking {MODEL} of {where}\n\n> {prompt}\n", flush=True)
        await show_answer(client, prompt)


async def show_answer(client: AsyncMoonshot, prompt: str) -> None:
    """Print the answer while it arrives, then what it cost."""
    dim, plain = ("\033[2m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
    started = time.monotonic()
    first: float | None = None
    asked = client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": prompt}], stream_options={"include_usage": True}
    )
    async with asked as stream:
        try:
            async for event in stream:
                if event.type == "reasoning.delta":
                    first = first or time.monotonic()
                    print(f"{dim}{event.delta}{plain}", end="", flush=True)
                elif event.type == "reasoning.done":
                    print("\n", flush=True)
                elif event.type == "content.delta":
                    first = first or time.monotonic()
                    print(event.delta, end="", flush=True)
        finally:
            print(flush=True)
        completion = await stream.get_final_completion()
    print(f"\n{summary(completion, started, first or started)}", flush=True)


def summary(completion: ChatCompletion, started: float, first: float) -> str:
    """Tokens and times of an answer that has just ended."""
    usage = completion.usage
    if usage is None:
        return "The server sent no usage."
    details = usage.completion_tokens_details
    reasoning = (details and details.reasoning_tokens) or 0
    rate = usage.completion_tokens / max(time.monotonic() - first, 0.001)
    return (
        f"{usage.prompt_tokens} prompt tokens ({usage.cached_tokens or 0} cached), "
        f"{usage.completion_tokens} completion tokens ({reasoning} reasoning), "
        f"first token after {first - started:.2f} s, then {rate:.0f} tokens/s"
    )


def read_prompt(text: str) -> str:
    """The prompt itself, or the content of the file that `@path` names."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_bytes().decode("utf-8-sig", "replace")
        except OSError as error:
            sys.exit(f"PROMPT={printable(text)} names a file that cannot be read: {error.strerror}")
    if not text.strip():
        sys.exit("The prompt is empty. Ask something: make demo PROMPT='...' (or PROMPT=@file)")
    return printable(text)


def printable(text: str) -> str:
    """`text` with what is no Unicode replaced: bytes of another encoding come from the environment as surrogates."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def run() -> int:
    """Run the demo and return its exit code."""
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(errors="replace")
    try:
        asyncio.run(main(read_prompt(os.environ.get("PROMPT", DEFAULT_PROMPT))))
    except MoonshotError as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read this has gone, for example `head`. What is left in the buffer must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
