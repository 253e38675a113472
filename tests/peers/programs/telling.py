"""The start of every program here: `python -m tests.peers.programs.telling NAME` runs the parts of program NAME.

Each part is `async def part(url)`; what it returns is told to the tests as JSON, and so is the traceback of a failure.
"""

import asyncio
import importlib
import json
import os
import sys
import traceback
from typing import Any


async def _run(parts: dict[str, Any], urls: dict[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, url in urls.items():
        try:
            told[name] = {"result": await parts[name](url)}
        except Exception:  # noqa: BLE001  # the test that asks for this part shows it
            told[name] = {"failure": traceback.format_exc()}
    return told


def main() -> None:
    program = importlib.import_module(f"tests.peers.programs.{sys.argv[1]}")
    told = asyncio.run(_run(program.PARTS, json.loads(os.environ["PARTS"])))
    # Clients may have printed what they like before.
    sys.stdout.write("\n== told ==\n" + json.dumps(told))


if __name__ == "__main__":
    main()
