"""What the fake says to a valid chat request: reasoning, text, or calls of the tools that came with it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

import msgspec

from moonshot_async.catalog import Model
from moonshot_async.fake import brain
from moonshot_async.fake.counting import WEB_SEARCH as WEB_SEARCH
from moonshot_async.fake.counting import prompt_tokens as prompt_tokens
from moonshot_async.fake.counting import search_of
from moonshot_async.fake.counting import text_of as text_of
from moonshot_async.fake.samples import sample

# Words that say nothing about what a tool is for.
_EMPTY_WORDS: Final = brain.words_of(
    "a an and any are as at be by call can do does for from function get give go has have how i if in into is it its "
    "me my no not of on one or our please run say set so some tell that the them then this to tool up us use user was "
    "we what when where which who why will with you your"
)
_SEARCH_WORDS: Final = "web search internet online news today latest 搜索 新闻 今天 最新"


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a tool; `arguments` is JSON as text, cut or broken where a real model would leave it so."""

    id: str
    name: str
    arguments: str
    type: str = "function"


class Answer(msgspec.Struct, frozen=True):
    """One choice of a completion.

    Attributes:
        reasoning: None where the model does not think; "" is sent as an empty string.
        pieces: the parts in which a stream sends the text.
        usage: replaces the computed usage of the completion.
        top_logprobs: how many tokens to name at each place of the text; None for no log probabilities at all.
    """

    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    pieces: tuple[str, ...] | None = None
    usage: Mapping[str, Any] | None = None
    top_logprobs: int | None = None

    def completion_tokens(self) -> int:
        """Tokens of everything that was generated."""
        calls = sum(brain.count_tokens(call.name + call.arguments) for call in self.tool_calls)
        return self.reasoning_tokens() + brain.count_tokens(self.text) + calls

    def reasoning_tokens(self) -> int:
        """Tokens of the reasoning alone."""
        return brain.count_tokens(self.reasoning or "")

    def text_pieces(self) -> Sequence[str]:
        """The text as a stream sends it."""
        return brain.pieces(self.text) if self.pieces is None else self.pieces


def thinks(payload: Mapping[str, Any], model: Model) -> bool:
    """Whether this request makes the model reason first."""
    if model.thinking != "switchable":
        return model.thinking == "always"
    return (payload.get("thinking") or {}).get("type") != "disabled"


def answer(payload: Mapping[str, Any], model: Model, *, seed: int = 0, index: int = 0) -> Answer:
    """Answer a request that `rules` has found to be in order.

    Args:
        payload: the decoded body.
        model: the model that it names.
        seed: another seed gives other answers to the same prompts.
        index: which choice of the completion this is.
    """
    messages: Sequence[Mapping[str, Any]] = payload["messages"]
    partial = messages[-1] if messages[-1].get("partial") else None
    if partial is not None:
        # The full answer is that to the conversation without its prefix, so a continuation fits without a seam.
        messages = messages[:-1]
    prompt = _last_text(messages, "user")
    told = [f"{message.get('role')}:{text_of(message)}" for message in messages]
    key = brain.digest(str(seed), str(index), model.id, *told)

    calls = () if partial is not None and text_of(partial) else _calls(payload, messages, prompt)
    text = "" if calls else _stopped(payload, _text(payload, messages, prompt, key))
    reasoning = brain.reflect(prompt, key, _effort(payload)) if thinks(payload, model) else None
    if partial is not None:
        reasoning, text = _continued(partial, reasoning, text, key)
    return with_logprobs(payload, _limited(payload, model, Answer(_stopped(payload, text), reasoning, calls)))


def with_logprobs(payload: Mapping[str, Any], whole: Answer) -> Answer:
    """An answer with the log probabilities that the request asks for, if it does."""
    if not payload.get("logprobs"):
        return whole
    return msgspec.structs.replace(whole, top_logprobs=payload.get("top_logprobs") or 0)


def _effort(payload: Mapping[str, Any]) -> int:
    """How many sentences to think. K3 reads the effort in a thinking object too."""
    effort = payload.get("reasoning_effort") or (payload.get("thinking") or {}).get("effort")
    return {"low": 1, "high": 2}.get(str(effort), 3)


def _last_text(messages: Sequence[Mapping[str, Any]], role: str) -> str:
    return next((text_of(message) for message in reversed(messages) if message.get("role") == role), "")


def _text(payload: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], prompt: str, key: bytes) -> str:
    form = payload.get("response_format") or {}
    if form.get("type") == "json_schema":
        return _json(sample(form["json_schema"]["schema"], brain.keyword(prompt)))
    if form.get("type") == "json_object":
        return _json({"answer": brain.compose(prompt, key), "keyword": brain.keyword(prompt)})
    results = takewhile(lambda message: message.get("role") == "tool", reversed(messages))
    return "\n".join([*reversed([_retold(message) for message in results]), brain.compose(prompt, key)])


def _retold(message: Mapping[str, Any]) -> str:
    """The result of a tool in words. Those of a web search are known to the service alone."""
    found = search_of(message) if message.get("name") in (None, WEB_SEARCH) else None
    if found is not None:
        return f"The web search {found[0]} found {found[1]} tokens of text."
    return f"{message.get('name') or 'The tool'} answered: {text_of(message)}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _continued(partial: Mapping[str, Any], reasoning: str | None, text: str, key: bytes) -> tuple[str | None, str]:
    """What is left of an answer of which `partial` holds the beginning."""
    thought, prefix = partial.get("reasoning_content") or "", text_of(partial)
    if prefix:
        if text.startswith(prefix):
            return None, text[len(prefix) :]
        gap = "" if prefix[-1].isspace() else " "
        return None, gap + brain.compose(prefix, key)
    if reasoning is not None and thought:
        reasoning = reasoning[len(thought) :] or None if reasoning.startswith(thought) else None
    return reasoning, text


def _calls(payload: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], prompt: str) -> tuple[ToolCall, ...]:
    choice = payload.get("tool_choice") or "auto"
    loaded = [tool for message in messages for tool in message.get("tools") or ()]
    tools: list[Mapping[str, Any]] = [*(payload.get("tools") or ()), *loaded]
    if choice == "none" or not tools:
        return ()
    hints = brain.keywords(prompt)
    if isinstance(choice, dict):
        chosen = [tool for tool in tools if tool["function"]["name"] == choice["function"]["name"]]
        hints = [brain.keyword(prompt)]
    elif choice == "required":
        chosen = _wanted(tools, prompt) or tools[:1]
    elif messages[-1].get("role") == "tool":
        chosen = []
    else:
        chosen = _wanted(tools, prompt)
    # Ids stay unique in a conversation: they count on from the calls that it already holds.
    place = sum(len(message.get("tool_calls") or ()) for message in messages)
    calls: list[ToolCall] = []
    for tool in chosen:
        for arguments in dict.fromkeys(_arguments(tool, hints, prompt)):
            name = tool["function"]["name"]
            calls.append(ToolCall(f"{name}:{place + len(calls)}", name, arguments, tool.get("type") or "function"))
    return tuple(calls)


def _wanted(tools: Sequence[Mapping[str, Any]], prompt: str) -> list[Mapping[str, Any]]:
    """The tools that share the most words with the prompt, and those for words that are left over then."""
    asked = brain.words_of(prompt) - _EMPTY_WORDS
    shared = [asked & brain.words_of(_described(tool["function"])) for tool in tools]
    best = max(map(len, shared))
    chosen = {place for place, words in enumerate(shared) if len(words) == best > 0}
    covered = set[str]().union(*(shared[place] for place in chosen))
    for place in sorted(range(len(tools)), key=lambda place: -len(shared[place])):
        if not shared[place] <= covered:
            chosen.add(place)
            covered |= shared[place]
    return [tools[place] for place in sorted(chosen)]


def _described(function: Mapping[str, Any]) -> str:
    name = function["name"]
    return f"{name} {_SEARCH_WORDS if name == WEB_SEARCH else function.get('description') or ''}"


def _arguments(tool: Mapping[str, Any], hints: Sequence[str], prompt: str) -> Iterator[str]:
    """The arguments of the calls of one tool, as JSON: one call for each hint."""
    if tool["function"]["name"] == WEB_SEARCH:
        found = {"search_result": {"search_id": brain.digest(prompt).hex()[:16]}}
        yield _json({**found, "usage": {"total_tokens": 1000 + brain.count_tokens(prompt)}})
        return
    for hint in hints:
        made = sample(tool["function"].get("parameters"), hint)
        yield _json(made if isinstance(made, dict) else {})


def _stopped(payload: Mapping[str, Any], text: str) -> str:
    stop = payload.get("stop") or ()
    places = [text.find(word) for word in ([stop] if isinstance(stop, str) else stop)]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def _limited(payload: Mapping[str, Any], model: Model, whole: Answer) -> Answer:
    """Spend the budget on reasoning first, then text, then calls, as the API does."""
    finish = "tool_calls" if whole.tool_calls else "stop"
    budget = payload.get("max_completion_tokens") or payload.get("max_tokens")
    if budget is None:
        budget = min(model.default_output_tokens, model.context_window - prompt_tokens(payload)[0])
    if whole.completion_tokens() <= budget:
        return msgspec.structs.replace(whole, finish_reason=finish)
    reasoning = None if whole.reasoning is None else brain.clip(whole.reasoning, budget)
    left = budget - brain.count_tokens(reasoning or "")
    text = brain.clip(whole.text, left)
    left -= brain.count_tokens(text)
    calls: list[ToolCall] = []
    for call in whole.tool_calls:
        left -= brain.count_tokens(call.name)
        if left <= 0:
            break
        arguments = brain.clip(call.arguments, left)
        left -= brain.count_tokens(arguments)
        calls.append(msgspec.structs.replace(call, arguments=arguments))
    return Answer(text, reasoning, tuple(calls), finish_reason="length")
