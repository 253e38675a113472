"""What the Python of the clients has: run by it, prints one line of JSON."""

import importlib.metadata
import importlib.util
import json
import platform
import sys

from benchmarks.clients.registry import CLIENTS

VERSIONS = (
    *("aiohttp", "msgspec", "anyio", "tenacity", "uvloop", "openai", "httpx2", "pydantic", "httpx", "httptools"),
    "kimi-agents-python",
)


def main() -> None:
    """Print the versions, and for each client what it lacks."""
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    missing = {
        client.name: [package for module, package in client.needs.items() if not importlib.util.find_spec(module)]
        for client in CLIENTS.values()
    }
    json.dump({"versions": versions, "missing": {name: lacks for name, lacks in missing.items() if lacks}}, sys.stdout)


if __name__ == "__main__":
    main()
