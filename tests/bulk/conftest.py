"""Fixtures of bulk work: a place for the journal, and a fake with its clients."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bulk.bulk_world import World


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    for client in world.clients:
        await client.aclose()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put back waits for milliseconds."""
    monkeypatch.setattr("moonshot_async.bulk.verdicts.FIRST_WAIT", 0.01)
    monkeypatch.setattr("moonshot_async.bulk.verdicts.PATIENCE", 0.3)
