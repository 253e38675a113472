"""A watch over the whole test run: no key and no prompt in a log, an exception, its traceback, a repr or a pickle.

A pytest plugin. Keys and prompts of the tests hold the marks below, and whatever a program or an error tracker could
get hold of is searched for them: log records of every logger at every level; each `MoonshotError` when it dies and
whatever `pytest.raises` catches, with args, notes, attributes, pickle, causes, and the locals of each frame of the
package and of what it uses; warnings; requests, responses, streams and clients, shown and pickled; what was printed.
Of many alike a test has a few searched, the first ones. The test in which something is found fails.
"""

import copy
import gc
import logging
import pickle
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final

import msgspec
import pytest

from moonshot_async.client import AsyncMoonshot
from moonshot_async.errors import APIError, MoonshotError
from moonshot_async.streaming import Stream
from moonshot_async.wire import Response

KEY_MARK: Final = "sk-canary"
PROMPT_MARK: Final = "Canary prompt"
# What tests send: long enough to be known again where a server echoes it.
CANARY_KEY: Final = f"{KEY_MARK}-0a1b2c3d4e5f6a7b"
CANARY_PROMPT: Final = f"{PROMPT_MARK}: what nobody else may read."

MARKS: Final = (KEY_MARK, PROMPT_MARK)
_BYTE_MARKS: Final = tuple(mark.encode() for mark in MARKS)
# Frames that must not hold what is secret: ours, and those of what we call. The embedded service is the other side.
_OURS: Final = ("moonshot_async", "aiohttp", "anyio", "tenacity")
_THEIRS: Final = ("moonshot_async.fake", "moonshot_async.pytest_plugin", "aiohttp.web")
# Of those alike, and of all together, so many are searched in one test.
_ALIKE: Final = 2
_MOST: Final = 60
# How far into a container is looked.
_DEPTH: Final = 4
_ITEMS: Final = 200
# Below every level that a program sets, so that it can be told from those.
_EVERYTHING: Final = 1


def mark_in(value: object, depth: int = _DEPTH) -> str | None:
    """The first mark that `value` shows, in itself or in what it holds; None for none."""
    if isinstance(value, str):
        return next((mark for mark in MARKS if mark in value), None)
    if isinstance(value, (bytes, bytearray)):
        return next((mark.decode() for mark in _BYTE_MARKS if mark in value), None)
    if isinstance(value, memoryview):
        return mark_in(value.tobytes())
    if isinstance(value, (list, tuple, set, frozenset, dict)) and type(value).__repr__ in _PLAIN_REPRS:
        if depth <= 0:
            return None
        items = [*value, *value.values()] if isinstance(value, dict) else value
        found = (mark_in(item, depth - 1) for _, item in zip(range(_ITEMS), items, strict=False))
        return next((mark for mark in found if mark), None)
    try:
        # rich has its own way to show structs.
        fields = list(value.__rich_repr__()) if isinstance(value, msgspec.Struct) else []
        return mark_in(repr(value)) or mark_in(fields, depth - 1)
    except Exception:  # noqa: BLE001  # what cannot be shown shows nothing
        return None


_PLAIN_REPRS: Final = {kind.__repr__ for kind in (list, tuple, set, frozenset, dict)}


class SecretsScan:
    """What was found, and the places where it is looked for.

    Attributes:
        found: a sentence for each place where a mark was seen.
        searched: how many objects of each kind were searched in the whole run.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self.searched: Counter[str] = Counter()
        self._alike: Counter[Any] = Counter()
        self._left = _MOST
        self._busy = False
        self._undo: list[Callable[[], None]] = []

    def begin(self) -> None:
        """A test begins: what it makes is searched anew."""
        self._alike.clear()
        self._left = _MOST

    def take(self) -> list[str]:
        """What was found since this was asked last."""
        found, self.found = list(dict.fromkeys(self.found)), []
        return found

    @contextmanager
    def apart(self) -> Iterator[list[str]]:
        """Collect what is found meanwhile in a list of its own: for tests that plant a leak."""
        before, self.found = self.found, []
        self.begin()
        found = self.found
        try:
            yield found
        finally:
            self.found = before

    def look(self, value: object, where: str) -> None:
        """Search one value."""
        if mark := mark_in(value):
            self.found.append(f"{mark!r} in {where}: {_around(value, mark)}")

    def look_shown(self, thing: object, where: str) -> None:
        """Search what an object shows of itself and what it is pickled to, where it can be."""
        self.searched[where.partition(" ")[0]] += 1
        self.look(repr(thing), f"the repr of {where}")
        self.look(f"{thing}", f"the text of {where}")
        try:
            data = pickle.dumps(thing)
        except Exception:  # noqa: BLE001  # what cannot be pickled goes nowhere
            return
        self.look(data, f"the pickle of {where}")

    def look_at_error(self, error: BaseException) -> None:
        """Search an exception, those that it came of, and the frames that it went through."""
        if self._busy:
            return
        self._busy = True
        try:
            chain = [] if _is_inner(error) else list(_chain(error))
            if chain and self._may(tuple((type(one), *_places(one)) for one in chain)):
                for one in chain:
                    self._look_at_one(one, told="" if one is error else f" behind {type(error).__name__}")
        finally:
            self._busy = False

    def _look_at_one(self, error: BaseException, *, told: str) -> None:
        name = type(error).__name__ + told
        frames = list(_frames(error.__traceback__))
        if isinstance(error, MoonshotError) or (frames and _is_ours(frames[-1])):
            shown = _without_answer(error)
            self.look_shown(shown, f"error {name}")
            self.look([shown.args, vars(shown), getattr(shown, "__notes__", ())], f"the attributes of {name}")
        for frame in frames:
            if _is_ours(frame):
                self.searched["frame"] += 1
                place = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}:{frame.f_lineno}"
                for variable, value in list(frame.f_locals.items()):
                    self.look(value, f"local {variable!r} of {place}, in the traceback of {name}")

    def look_at_sample(self, thing: object, where: str) -> None:
        """Search an object as `look_shown` does, if it is among the first of its kind."""
        if not self._busy and self._may(where):
            self._busy = True
            try:
                self.look_shown(thing, where)
            finally:
                self._busy = False

    def _may(self, kind: object) -> bool:
        """Whether one more of this kind is searched."""
        if self._left <= 0 or self._alike[kind] >= _ALIKE:
            return False
        self._alike[kind] += 1
        self._left -= 1
        return True

    def install(self) -> None:
        """Begin to look."""
        self._wrap(MoonshotError, "__del__", lambda error: self.look_at_error(error), before=True)
        self._wrap(
            pytest.RaisesExc, "__exit__", lambda _, __, error, *___: error is None or self.look_at_error(error), True
        )
        # Where one is made, not where one warns: a call in between would be told as the place.
        self._wrap(warnings.WarningMessage, "__init__", lambda _, message, *__: self.look(str(message), "a warning"))
        self._wrap(AsyncMoonshot, "aclose", self._client_used, before=True)
        self._wrap(Response, "__init__", self._response_made)
        self._wrap(Stream, "__init__", lambda stream, *_, **__: self.look_at_sample(stream, "stream"))
        # A thread's own takes a lock, and an error may be collected, and looked at, while it is held right here.
        shown = threading.Thread.__repr__
        threading.Thread.__repr__ = object.__repr__  # type: ignore[method-assign]
        self._undo.append(lambda: setattr(threading.Thread, "__repr__", shown))
        handler = _Handler(self)
        root, level = logging.getLogger(), logging.getLogger().level
        root.addHandler(handler)
        root.setLevel(_EVERYTHING)
        self._undo += [lambda: root.removeHandler(handler), lambda: root.setLevel(level)]

    def uninstall(self) -> None:
        """Leave everything as it was."""
        while self._undo:
            self._undo.pop()()

    def look_at_living(self) -> None:
        """Search the errors that are still held."""
        gc.collect()
        for thing in gc.get_objects():
            if isinstance(thing, MoonshotError):
                self.begin()
                self.look_at_error(thing)

    def _client_used(self, client: AsyncMoonshot) -> None:
        self.look_at_sample(client, "client")
        self.look_at_sample(client._pipeline, "pipeline")
        self.look_at_sample(client.default_headers, "header set of a client")

    def _response_made(self, response: Response, *_: Any, **__: Any) -> None:
        # Others become errors, and are searched in those: then they hide what was echoed.
        if response.status < 300:
            self.look_at_sample(response, f"response {response.status}")
        if response.request is not None:
            self.look_at_sample(response.request, f"request {response.request.method}")

    def _wrap(self, owner: Any, name: str, look: Callable[..., Any], before: bool = False) -> None:
        """Have `look` called with the arguments of a function, after it or before."""
        original: Any = getattr(owner, name, None)
        own = name in vars(owner)

        def watched(*args: Any, **kwargs: Any) -> Any:
            if before:
                look(*args, **kwargs)
            result = None if original is None else original(*args, **kwargs)
            if not before:
                look(*args, **kwargs)
            return result

        setattr(owner, name, watched)
        self._undo.append(lambda: setattr(owner, name, original) if own else delattr(owner, name))


class _Handler(logging.Handler):
    """Searches each record as it is, and as it would be written."""

    def __init__(self, scan: SecretsScan) -> None:
        super().__init__()
        self._scan = scan

    def emit(self, record: logging.LogRecord) -> None:
        self._scan.searched["log record"] += 1
        where = f"a record of logger {record.name!r}"
        self._scan.look(record.getMessage(), where)
        if record.args:
            self._scan.look(record.args, where)
        if record.exc_info and record.exc_info[1] is not None:
            self._scan.look(self.format(record), where)
            self._scan.look_at_error(record.exc_info[1])


class _AsSet(logging.Filter):
    """Keeps from pytest's own handlers what would not be there without us: memory is measured by some tests."""

    def filter(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and not logger.level:
            logger = logger.parent
        level = logging.WARNING if logger is None or logger.level == _EVERYTHING else logger.level
        return record.levelno >= level


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return module.startswith(_OURS) and not module.startswith(_THEIRS)


def _is_inner(error: BaseException) -> bool:
    """Whether an error was made and caught within the package, as a step on the way to another one."""
    trace = error.__traceback__
    told = isinstance(error, APIError) and error.request is not None
    return isinstance(error, MoonshotError) and not told and trace is not None and _is_ours(trace.tb_frame)


def _without_answer(error: BaseException) -> BaseException:
    """An error without what the model said, where that repeats the prompt: it belongs to whoever asked."""
    said = [name for name in ("partial", "completion", "text") if mark_in(vars(error).get(name))]
    if said:
        error = copy.copy(error)
        for name in said:
            setattr(error, name, None)
    return error


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    """Where an exception went through: those that went the same way are alike."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_qualname, trace.tb_lineno
        trace = trace.tb_next


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that an error tracker would show with it."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [more for more in (one.__cause__, one.__context__) if more is not None]
        left += one.exceptions if isinstance(one, BaseExceptionGroup) else ()


def _around(value: object, mark: str) -> str:
    text = value if isinstance(value, str) else repr(value)
    at = max(text.find(mark), 0)
    return repr(text[max(0, at - 60) : at + 60])


SCAN: Final = SecretsScan()


def pytest_sessionstart(session: pytest.Session) -> None:
    SCAN.install()
    plugin: Any = session.config.pluginmanager.get_plugin("logging-plugin")
    for handler in (plugin.caplog_handler, plugin.report_handler):
        handler.addFilter(_AsSet())


def pytest_unconfigure() -> None:
    SCAN.uninstall()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    SCAN.begin()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    if found := SCAN.take():
        pytest.fail("secrets were shown:\n" + "\n".join(found), pytrace=False)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        SCAN.look([text for _, text in report.sections], f"what {report.nodeid} printed")


def pytest_warning_recorded(warning_message: warnings.WarningMessage, nodeid: str) -> None:
    SCAN.look(str(warning_message.message), f"a warning of {nodeid}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    SCAN.look_at_living()
    if SCAN.found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if found := SCAN.take():
        terminalreporter.section("secrets were shown")
        for line in found:
            terminalreporter.line(line)
    searched = ", ".join(f"{count} {kind}s" for kind, count in sorted(SCAN.searched.items()))
    terminalreporter.line(f"searched for secrets: {searched}")
