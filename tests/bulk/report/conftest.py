"""A journal to be told of."""

from pathlib import Path

import pytest

from moonshot_async.errors import (
    APIError,
)
from tests.bulk.report.journals import BAD, LIMITS, outcome, write_start


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Ten minutes in two starts, of which the first was killed, with a pause of a day between."""
    path = tmp_path / "run.db"
    first = [outcome(f"a-{second}", second, second + 2.0, head=second + 1.5) for second in range(298)]
    first.append(outcome("slow", 100.0, 298.0))
    retried = (("InternalServerError 503", 1.0, 2.0), ("APITimeoutError", 4.0, 3.0))
    second = [
        outcome("late", 100_020.0, 100_021.0, began=100_003.0, failures=retried, limit_wait=7.0),
        outcome("bad", 100_030.0, 100_030.5, error=BAD, failures=(("BadRequestError 400", 0.5, 0.0),)),
        outcome("odd", 100_040.0, 100_041.0, error=APIError("it does not fit"), answered=True, model="kimi-k3"),
    ]
    write_start(path, first, ended=None, limits=LIMITS)
    write_start(path, second, began=100_000.0, ended=100_300.0, limits=LIMITS, reason="stopped", opened=["x", "y"])
    return path
