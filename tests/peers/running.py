"""Run a program in a process of its own against fakes that are served over HTTP, and read what it told."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from moonshot_async.fake import FakeMoonshot

KEY = "sk-peers-key"
PROGRAMS = Path(__file__).parent / "programs"


def new_fake(**options: Any) -> FakeMoonshot:
    """A fake whose clock stands still."""
    return FakeMoonshot(**{"clock": lambda: 1794200000.0, "api_keys": [KEY]} | options)


class Ran(NamedTuple):
    """A program that was run: the fakes that it used and what its parts told, both by the name of the part."""

    fakes: Mapping[str, FakeMoonshot]
    parts: Mapping[str, Any]

    def told(self, part: str) -> Any:
        """What a part returned; its failure fails the test that asks."""
        assert "failure" not in self.parts[part], "\n" + self.parts[part]["failure"]
        return self.parts[part]["result"]


async def run(program: str, fakes: Mapping[str, FakeMoonshot]) -> Ran:
    """Run the parts of a program, and return what they told.

    Args:
        program: the name of a file in `programs/`; its `PARTS` are run in order, each with the URL of its fake.
        fakes: by the name of the part.
    """
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(fake.serve()) for name, fake in fakes.items()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.peers.programs.telling", program),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=PROGRAMS.parents[2],
            env=_environment() | {"PARTS": json.dumps(urls)},
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return Ran(fakes, json.loads(out.decode().rpartition("\n== told ==\n")[2]))


async def answer_of(fake: FakeMoonshot, **payload: Any) -> Any:
    """The fake's own answer to a chat request, to compare with what a client made of it."""
    from moonshot_async import AsyncMoonshot
    from moonshot_async.transports import MemoryTransport

    async with AsyncMoonshot(api_key=KEY, base_url="http://fake.test/v1", transport=MemoryTransport(fake)) as client:
        return (await client.chat.completions.create(**payload)).choices[0].message


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "HOME", "TMPDIR") if name in os.environ}
    return kept | {
        "MOONSHOT_API_KEY": KEY,
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # litellm would load its table of prices from the network, and report home.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DO_NOT_TRACK": "1",
    }
