"""What the client logs, on stderr: warnings always, each attempt with `--verbose`. No key and no prompt is in it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shown_logs(verbose: bool) -> Iterator[None]:
    """Write the client's log to stderr meanwhile, one line a record."""
    logger = logging.getLogger("moonshot_async")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("moonshot: %(levelname)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
