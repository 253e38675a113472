"""A conversation as JSON: what is saved of it, and how strictly it is read again."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import msgspec

from moonshot_async.catalog import currency_of
from moonshot_async.clocks import CONTEXT_DEADLINE, until
from moonshot_async.errors import APIResponseValidationError, APITimeoutError, ConfigurationError, ConversationError
from moonshot_async.headers import Unshown
from moonshot_async.threads import in_daemon_thread
from moonshot_async.toolkit.conversation.asking import OF_THE_CALL, Asking, asking_of, checked_options, settings_with
from moonshot_async.toolkit.conversation.history import History
from moonshot_async.toolkit.conversation.messages import checked_message
from moonshot_async.toolkit.conversation.replies import Spent
from moonshot_async.toolkit.conversation.tokens import Entry
from moonshot_async.toolkit.conversation.trimming import DropOldest
from moonshot_async.types.chat import Usage
from moonshot_async.types.encoding import plain, to_json

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

T = TypeVar("T")

FORMAT: Final = "moonshot_async.conversation"
VERSION: Final = 1

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Tokens: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


class _Entry(Unshown, msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """See `Entry`. One without figures is estimated."""

    message: dict[str, Any]
    pinned: bool = False
    summary: bool = False
    known: Tokens = 0.0
    open: Count = 0
    open_media: Count = 0


class _Beside(msgspec.Struct, forbid_unknown_fields=True):
    """What stands beside the messages, as an estimate, and what it counts; nothing where that is not known."""

    estimate: Count = 0
    known: Tokens = 0.0


class _Spent(msgspec.Struct, forbid_unknown_fields=True):
    answers: Count = 0
    unpriced: Count = 0
    cost: str = "0"
    currency: str = "usd"
    usage: dict[str, Any] | None = None


class _Saved(Unshown, msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """All of it. `functions` names the tools that have to be given again."""

    format: str
    version: int
    model: str | list[str] | None
    max_context_tokens: int | None = None
    max_completion_tokens: int | None = None
    prompt_cache_key: str | None = None
    options: dict[str, Any] = {}
    tools: list[dict[str, Any]] = []
    functions: list[str] = []
    dropped_turns: Count = 0
    beside: _Beside = msgspec.field(default_factory=_Beside)
    head: list[_Entry] = []
    turns: list[list[_Entry]] = []
    spent: _Spent = msgspec.field(default_factory=_Spent)


def dumped(asking: Asking, history: History, spent: Spent) -> bytes:
    """The JSON of a conversation."""
    models, beside = asking.models, history.account.beside
    saved = _Saved(
        format=FORMAT,
        version=VERSION,
        model=list(models.names) if isinstance(models.names, tuple) else models.names,
        max_context_tokens=models.max_context_tokens,
        max_completion_tokens=asking.max_completion_tokens,
        prompt_cache_key=asking.cache_key,
        options={name: plain(value) for name, value in asking.options.items() if name not in OF_THE_CALL},
        tools=[] if asking.functions else asking.tools,
        functions=[tool["function"]["name"] for tool in asking.tools] if asking.functions else [],
        dropped_turns=history.dropped,
        beside=_Beside() if beside.open else _Beside(beside.estimate, beside.known),
        head=[_saved(entry, history) for entry in history.head],
        turns=[[_saved(entry, history) for entry in turn.entries] for turn in history.turns],
        spent=_Spent(
            spent.answers,
            spent.unpriced,
            str(spent.cost),
            currency_of(asking.client.base_url),
            None if spent.usage is None else spent.usage.model_dump(exclude_none=True),
        ),
    )
    return to_json(saved)


def loaded(client: "AsyncMoonshot", text: str | bytes, changes: Mapping[str, Any]) -> tuple[Asking, History, Spent]:
    """What `dumped` was given, with some settings changed.

    Raises:
        ConfigurationError: it is no saved conversation; says where.
    """
    saved = _decoded(text)
    asking = _asking(client, saved, changes)
    beside = asking.beside()
    if saved.beside.known and saved.beside.estimate == beside.estimate:
        beside.known, beside.open = saved.beside.known, 0
    history = History(beside)
    for place, entry in enumerate(saved.head):
        _append(history, entry, f"head[{place}]", to_head=True)
    for number, turn in enumerate(saved.turns):
        history.begin_turn()
        for place, entry in enumerate(turn):
            _append(history, entry, f"turns[{number}][{place}]")
    history.dropped = saved.dropped_turns
    if "model" in changes and asking.models.may_think():
        history.show_reasoning()
    return asking, history, _spent(saved.spent, client)


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """Do what may block, within the deadline of whoever asks."""
    return await until(
        CONTEXT_DEADLINE.get(),
        in_daemon_thread(work, *args),
        lambda: APITimeoutError(message="The deadline ran out before the file was done with.", clock="deadline"),
    )


def write_whole(path: str, data: bytes) -> None:
    """Write a file in one piece: a program that ends meanwhile leaves the old one."""
    import tempfile

    target = Path(path).resolve()
    # It may be read by its owner alone.
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def read_whole(path: str) -> bytes:
    """The content of a file."""
    return Path(path).read_bytes()


def _saved(entry: Entry, history: History) -> _Entry:
    summary = entry is history.summary
    return _Entry(entry.message, entry.pinned, summary, entry.known, entry.open, entry.open_media)


def _decoded(text: str | bytes) -> _Saved:
    try:
        head = msgspec.json.decode(text, type=_Head)
        if head.format != FORMAT:
            raise ConfigurationError(f"this is no saved conversation: its format is not {FORMAT!r}")
        if head.version > VERSION:
            raise ConfigurationError(
                f"the conversation was saved in version {head.version}, by a newer moonshot_async; this one reads "
                f"up to version {VERSION}: upgrade it"
            )
        return msgspec.json.decode(text, type=_Saved)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Messages of msgspec name kinds and places, never values.
        problem = str(error) if isinstance(error, msgspec.DecodeError) else "it is no UTF-8"
    except RecursionError:
        problem = "it is nested too deeply"
    raise ConfigurationError(f"this is no saved conversation: {problem}")


def _asking(client: "AsyncMoonshot", saved: _Saved, changes: Mapping[str, Any]) -> Asking:
    if saved.functions and "tools" not in changes:
        raise ConfigurationError(
            f"the conversation has functions as tools ({', '.join(saved.functions)}), which cannot be saved: pass "
            "tools=[…] again"
        )
    try:
        checked_options(saved.options, call="Conversation")
    except TypeError as error:
        raise ConfigurationError(f"this is no saved conversation: {error}") from None
    if OF_THE_CALL.intersection(saved.options):
        raise ConfigurationError("this is no saved conversation: options hold what concerns a single call")
    settings = settings_with(
        changes,
        saved.options,
        model=saved.model,
        tools=saved.tools,
        tool_options=None,
        max_context_tokens=saved.max_context_tokens,
        max_completion_tokens=saved.max_completion_tokens,
        trim=DropOldest(),
        summarise=None,
        prompt_cache_key=saved.prompt_cache_key,
    )
    return asking_of(client, **settings)


def _append(history: History, saved: _Entry, place: str, *, to_head: bool = False) -> None:
    try:
        entry = Entry.of(checked_message(saved.message), pinned=saved.pinned)
        if saved.known or saved.open or saved.open_media:
            entry.known, entry.open, entry.open_media = saved.known, saved.open, saved.open_media
        if saved.summary:
            history.summarise(entry)
        else:
            history.append(entry, to_head=to_head)
        return
    except ConversationError as error:
        problem = str(error)
    raise ConfigurationError(f"this is no saved conversation: {place}: {problem}")


def _spent(saved: _Spent, client: "AsyncMoonshot") -> Spent:
    spent = Spent()
    spent.answers = saved.answers
    with suppress(APIResponseValidationError):
        spent.usage = None if saved.usage is None else Usage.model_validate(saved.usage)
    if saved.usage is not None and spent.usage is None:
        raise ConfigurationError("this is no saved conversation: spent.usage is no usage")
    try:
        cost = Decimal(saved.cost)
    except InvalidOperation:
        cost = Decimal(-1)
    if not cost.is_finite() or cost < 0:
        raise ConfigurationError("this is no saved conversation: spent.cost is no amount of money")
    if saved.currency == currency_of(client.base_url):
        spent.cost, spent.unpriced = cost, saved.unpriced
    else:
        # Sums of two currencies are none.
        spent.unpriced = saved.answers
    return spent
