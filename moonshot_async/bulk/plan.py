"""What a bulk run was told, as far as it can be checked before anything happens."""

import os
import random
import time
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from moonshot_async.bulk.budget import priced
from moonshot_async.bulk.items import ItemMaker
from moonshot_async.bulk.prices import Prices
from moonshot_async.bulk.sources import Make, Requests, Source, source_of
from moonshot_async.errors import ConfigurationError
from moonshot_async.headers import Unshown
from moonshot_async.resources.call import CallOptions, check_options, take_options
from moonshot_async.types.chat import ChatCompletion
from moonshot_async.types.encoding import is_type

if TYPE_CHECKING:
    from moonshot_async.bulk.progress import Progress

Via: TypeAlias = Literal["live", "batch"]

# How often a request is put back, beyond the client's own retries; not counted where a limit refused it.
_ROUNDS: Final = 5


class Plan(Unshown, msgspec.Struct, kw_only=True):
    """What `client.bulk` was told; see there."""

    source: Source | None
    options: CallOptions
    journal: str
    concurrency: int | None = None
    ordered: bool = False
    max_cost: Decimal | None = None
    max_tokens: int | None = None
    via: Via = "live"
    retry_failed: bool = False
    replay: bool = False
    on_progress: "Callable[[Progress], object] | None" = None
    handle_signals: bool = False
    parse: Callable[[ChatCompletion], Any] | None = None
    rounds: int = _ROUNDS
    clock: Callable[[], float] = time.time
    uniform: Callable[[float, float], float] = random.uniform


def plan_of(
    requests: Requests | None,
    defaults: dict[str, Any],
    *,
    journal: "str | os.PathLike[str]",
    concurrency: int | None,
    ordered: bool,
    max_cost: Decimal | float | str | None,
    max_tokens: int | None,
    via: Via,
    retry_failed: bool,
    replay: bool,
    on_progress: "Callable[[Progress], object] | None",
    handle_signals: bool,
    prices: Prices,
) -> Plan:
    """Check what was told.

    Args:
        prices: of the account.

    Raises:
        TypeError: `requests` is nothing that holds requests, a keyword does not exist, or a number is none.
        ConfigurationError: an argument cannot work.
    """
    options = take_options(defaults)
    check_options(options, call="bulk")
    if via not in ("live", "batch"):
        raise ConfigurationError(f"via must be 'live' or 'batch', not {via!r}")
    if on_progress is not None and not callable(on_progress):
        raise TypeError(f"on_progress must be a function, not {type(on_progress).__name__}")
    parse = None
    if "response_format" in defaults:
        parse, defaults["response_format"] = parse_of(defaults["response_format"])
    make: Make = ItemMaker(defaults).item
    money = _money(max_cost)
    if money is not None:
        if "model" in defaults:
            prices.check(defaults["model"])
        make = priced(make, prices)
    if via == "batch":
        # Imported late: most runs make no batches.
        from moonshot_async.bulk.batches.items import checked

        make = checked(make)
    return Plan(
        source=None if requests is None else source_of(requests, make),
        options=options,
        journal=_checked_journal(journal),
        concurrency=_whole("concurrency", concurrency),
        ordered=bool(ordered),
        max_cost=money,
        max_tokens=_whole("max_tokens", max_tokens),
        via=via,
        retry_failed=bool(retry_failed),
        replay=bool(replay),
        on_progress=on_progress,
        handle_signals=bool(handle_signals),
        parse=parse,
    )


def parse_of(response_format: Any) -> tuple[Callable[[ChatCompletion], Any] | None, Any]:
    """What makes values of answers, and what is sent for it; nothing where `response_format` is no type."""
    if not is_type(response_format):
        return None, response_format
    from moonshot_async.structured import Parsing

    parsing: Parsing[Any] = Parsing(response_format, ())
    return parsing.completion, parsing.response_format


def _checked_journal(journal: Any) -> str:
    if not isinstance(journal, (str, os.PathLike)) or not isinstance(os.fspath(journal), str):
        raise TypeError(f"journal must be the path of a file, such as 'run.db', not {type(journal).__name__}")
    path = Path(journal)
    if not os.fspath(journal) or str(path) == ":memory:":
        raise ConfigurationError(f"journal must be the path of a file, such as 'run.db', not {os.fspath(journal)!r}")
    if path.is_dir():
        raise ConfigurationError(f"journal: {str(path)!r} is a directory; name a file in it")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"journal: there is no directory {str(path.parent)!r} to make it in")
    return str(path)


def _whole(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number or None, not {value!r}")
    if value < 1:
        raise ConfigurationError(f"{name} must be 1 or more, or None, not {value!r}")
    return value


def _money(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise InvalidOperation
        # As it is written: 0.1 is a tenth.
        money = Decimal(str(value))
        if not money.is_finite() or money <= 0:
            raise InvalidOperation
    except InvalidOperation:
        pass
    else:
        return money
    raise ConfigurationError(f"max_cost must be a positive amount in the account's currency, or None, not {value!r}")
