"""What a conversation asks with, beside its messages: the settings, checked."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from os import urandom
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.headers import Unshown
from moonshot_async.resources.call import BodyOptions, CallOptions, Given
from moonshot_async.toolkit.conversation.messages import Message, check_names
from moonshot_async.toolkit.conversation.models import Models
from moonshot_async.toolkit.conversation.tokens import Entry
from moonshot_async.toolkit.conversation.trimming import TrimPolicy
from moonshot_async.toolkit.model_choice import check_tokens
from moonshot_async.types.chat_params import CompletionRequest
from moonshot_async.types.encoding import NotGiven, build, is_type, plain, to_json

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

Summarise: TypeAlias = Callable[[list[Message]], Awaitable[str] | str]
"""Gets the messages that are dropped, in copies, the summary before them first; returns the text that replaces them."""

# What concerns one sending, and may hold keys: it is not saved.
OF_THE_CALL: Final = frozenset(BodyOptions.__annotations__) | frozenset(CallOptions.__annotations__)
# Keywords of `stream` that `create` does not know.
OF_STREAMS: Final = frozenset({"resume", "continue_on_length"})
_OURS: Final = {
    "messages": "the conversation has the messages",
    "model": "the conversation has the model: fork(model=…) goes on with another one",
    "tools": "the conversation has the tools: fork(tools=…) goes on with others",
    "stream": "ask() does not stream, stream() does",
    "n": "a conversation goes on from one answer: n is 1",
    "prompt_cache_key": "the conversation has the prompt_cache_key",
}
_OF_RUNS: Final = frozenset(
    (
        "approve",
        "context",
        "handler",
        "max_cost",
        "max_repeats",
        "max_steps",
        "max_tokens",
        "parallel",
        "remind_after",
        "show_tracebacks",
        "timeout",
    )
)


class Asking(Unshown, msgspec.Struct):
    """What goes with every question.

    Attributes:
        client: sends.
        models: may be asked.
        tools: definitions, as `create` takes them.
        functions: the same tools as `run_tools` takes them; none where nothing runs them.
        options: keywords for `create`.
        run_options: keywords for `run_tools`.
        max_completion_tokens: for each answer; None for what the model takes.
        trim: how much goes when the history is too long; None for nothing, ever.
        summarise: makes the text that stands for what goes; None for no such text.
        cache_key: `prompt_cache_key`; None for none.
        summary: how many turns were gone when a summary was made that was not used, and the summary: it is used if the
            same is asked again.
    """

    client: Any
    models: Models
    tools: list[Any]
    functions: list[Any]
    options: dict[str, Any]
    run_options: dict[str, Any] = {}
    max_completion_tokens: int | None = None
    trim: TrimPolicy | None = None
    summarise: Summarise | None = None
    cache_key: str | None = None
    summary: tuple[int, str] | None = None

    def beside(self) -> Entry:
        """What counts of every request beside its messages."""
        return Entry.beside(self.tools, self.options.get("response_format"))

    def changed(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords for `asking_of` that give this again, with some changed."""
        return settings_with(
            changes,
            self.options,
            model=self.models.names,
            tools=self.functions or self.tools,
            tool_options=self.run_options,
            max_context_tokens=self.models.max_context_tokens,
            max_completion_tokens=self.max_completion_tokens,
            trim=self.trim,
            summarise=self.summarise,
            prompt_cache_key=self.cache_key,
        )

    def client_of(self, options: Mapping[str, Any]) -> "AsyncMoonshot":
        """The client of a run: what `timeout` is for a call stands there for each tool."""
        client: AsyncMoonshot = self.client
        return client.with_options(timeout=options["timeout"]) if "timeout" in options else client

    def of_a_run(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords for `run_tools`, from those for `stream`."""
        kept = {name: value for name, value in params.items() if name not in ("timeout", "max_tokens")}
        if "max_tokens" in params:
            # There it would count for the whole run.
            kept.setdefault("max_completion_tokens", params["max_tokens"])
        return {**kept, "tools": self.functions, **self.run_options}


def asking_of(
    client: "AsyncMoonshot",
    *,
    model: str | Iterable[str] | None,
    tools: Iterable[Any] | None,
    tool_options: Mapping[str, Any] | None,
    max_context_tokens: int | None,
    max_completion_tokens: int | None,
    trim: TrimPolicy | None,
    summarise: Summarise | None,
    prompt_cache_key: str | NotGiven | None,
    options: Mapping[str, Any],
) -> Asking:
    """Check the settings of a conversation; see `Conversation` for them, and for what is raised."""
    run_options = dict(tool_options or {})
    params, functions = checked_tools(tools, run_options)
    if run_options and not functions:
        raise ConfigurationError("tool_options are for tools that are run: give functions as tools")
    if trim is not None and (isinstance(trim, type) or not callable(getattr(trim, "drop", None))):
        raise TypeError(f"trim must be DropOldest(), or have its method drop(), not {_kind_of(trim)}")
    if summarise is not None and not callable(summarise):
        raise TypeError(f"summarise must be a function, not {type(summarise).__name__}")
    if isinstance(prompt_cache_key, msgspec.UnsetType):
        prompt_cache_key = urandom(16).hex()
    if prompt_cache_key is not None and (not isinstance(prompt_cache_key, str) or not prompt_cache_key):
        raise ConfigurationError("prompt_cache_key must be a text that is not empty, or None for none")
    return Asking(
        client=client,
        models=Models(model, client, max_context_tokens),
        tools=params,
        functions=functions,
        options=checked_options(options, call="Conversation"),
        run_options=run_options,
        max_completion_tokens=check_tokens("max_completion_tokens", max_completion_tokens),
        trim=trim,
        summarise=summarise,
        cache_key=prompt_cache_key,
    )


def settings_with(changes: Mapping[str, Any], options: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """Keywords for `asking_of`: settings and options with some changed; None takes an option away."""
    others = {name: value for name, value in changes.items() if name not in settings}
    gone = {name for name, value in others.items() if value is None}
    kept = {name: value for name, value in {**options, **others}.items() if name not in gone}
    if "tools" in changes:
        # Those of other tools.
        settings["tool_options"] = None
    return {**settings, **{name: value for name, value in changes.items() if name in settings}, "options": kept}


def checked_options(options: Mapping[str, Any], *, call: str) -> dict[str, Any]:
    """Keywords for `create`, before anything is asked with them.

    Raises:
        TypeError: one does not exist, or belongs to the conversation.
        ConfigurationError: a number is not finite.
    """
    for name in options:
        if name in _OURS:
            raise TypeError(f"{call}() takes no {name!r}: {_OURS[name]}")
    extra = options.get("extra_body")
    for name in _OURS:
        if isinstance(extra, Mapping) and name in extra:
            raise TypeError(f"{call}() takes no {name!r} in extra_body: {_OURS[name]}")
    if is_type(options.get("response_format")):
        raise TypeError(
            f"{call}() takes no type as response_format, only the API's own; moonshot_async.toolkit.structured has "
            "parse() for answers of a type"
        )
    allowed = OF_THE_CALL | OF_STREAMS if call == "stream" else OF_THE_CALL
    build(
        CompletionRequest,
        {"model": "", "messages": [], **{name: options[name] for name in options if name not in allowed}},
        call=call,
    )
    return Given(options)


def checked_tools(tools: Iterable[Any] | None, run_options: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """The definitions of tools, and the tools where something has to run them.

    Raises:
        TypeError: something is no tool, or a keyword of `tool_options` does not exist.
        ConfigurationError: two tools have one name, or nothing runs one.
    """
    for name in run_options:
        if name not in _OF_RUNS:
            raise TypeError(f"tool_options has an unexpected {name!r}; run_tools takes {', '.join(sorted(_OF_RUNS))}")
    if isinstance(tools, (str, Mapping)):
        raise TypeError(f"tools must be a list of tools, not {type(tools).__name__}")
    listed = list(tools or ())
    if "handler" not in run_options and all(isinstance(tool, Mapping) for tool in listed):
        params = [msgspec.json.decode(to_json(plain(tool))) for tool in listed]
        check_names(params)
        return params, []
    from moonshot_async.toolkit.functions.loop.runners import Toolbox

    toolbox = Toolbox(listed, run_options.get("handler"), run_options.get("approve"))
    return [msgspec.json.decode(param) for param in toolbox.params], listed


def _kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
