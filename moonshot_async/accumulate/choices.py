"""One choice of a streamed answer, and its tool calls, while their pieces arrive."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from moonshot_async.accumulate.growing import Extras, Text
from moonshot_async.errors import ResponseTooLargeError
from moonshot_async.types.chat import (
    ChatCompletionMessage,
    Choice,
    ChunkChoice,
    FunctionCall,
    FunctionCallDelta,
    Logprobs,
    ToolCall,
    ToolCallDelta,
)

# Choices of an answer, and tool calls of a choice: far more than anybody asks for.
MOST_PARTS: Final = 1000


class ToolCallState:
    """One tool call while its fragments arrive."""

    __slots__ = (
        "arguments",
        "extra",
        "function_extra",
        "id",
        "index",
        "misnamed",
        "name",
        "named_again",
        "position",
        "told_again",
        "type",
    )

    def __init__(self, position: int, index: int | None) -> None:
        self.position = position
        self.index = index
        self.id = ""
        self.type = "function"
        self.name = ""
        # Whether a later fragment told the name, too, as every fragment of some hosts does.
        self.named_again = False
        # Whether a later fragment told another name and began no call; to look at it once more could cost any time.
        self.misnamed = False
        # Whether the last fragment told the name of this call, which was whole, and no arguments: it may have been the
        # head of another one.
        self.told_again = False
        self.arguments = Text()
        self.extra = Extras(grow=True)
        self.function_extra = Extras(grow=True)

    def add(self, delta: ToolCallDelta) -> None:
        self.id = self.id or delta.id or ""
        self.type = delta.type or self.type
        self.extra.add(delta)
        if function := delta.function:
            if function.name:
                self.told_again = not function.arguments and self._is_over()
                self.named_again = bool(self.name)
                self.name = self.name or function.name
                self.misnamed = self.misnamed or function.name != self.name
            self.function_extra.add(function)
            if function.arguments:
                self.arguments.add(function.arguments)
                self.told_again = False

    def begins_another(self, delta: ToolCallDelta) -> bool:
        """Whether a fragment that came for this call is the first one of a new call.

        Some hosts leave `index` out, or give every call the same one, and some repeat or renew ids in every fragment.
        """
        name = delta.function.name if delta.function else None
        if delta.id and self.id and delta.id != self.id:
            return delta.index is None or bool(name)
        more = delta.function.arguments if delta.function else None
        if self.told_again and more and name in (None, "", self.name):
            return more != str(self.arguments)
        if not (name and self.name):
            return False
        if name != self.name:
            told_apart = delta.index is None and not (delta.id and self.id)
            return told_apart or (not self.misnamed and self._may_be_whole())
        if delta.id or self.id:
            # Some tell the call once more at its end, with or without its arguments.
            return bool(more) and more != str(self.arguments) and self._is_over()
        return self._is_over()

    def begin_another(self, position: int, delta: ToolCallDelta) -> "ToolCallState":
        """Begin the call that a fragment belongs to which is none of this one."""
        other = ToolCallState(position, delta.index)
        named = delta.function is not None and bool(delta.function.name)
        if self.told_again and not named and delta.id in (None, "", self.id):
            # Its head came last, and was taken for this one told once more.
            other.id, other.type, other.name = self.id, self.type, self.name
        return other

    def _is_over(self) -> bool:
        """Whether a name begins another call, where neither index nor id tells calls apart: this one is whole."""
        return not self.named_again and bool(self._object())

    def _may_be_whole(self) -> bool:
        """Whether nothing need be missing: tools without parameters are called with an empty object, or nothing."""
        return not str(self.arguments).strip() or self._object() is not None

    def _object(self) -> dict[str, object] | None:
        """What the arguments are so far; None where that is no object."""
        try:
            value = msgspec.json.decode(str(self.arguments))
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def tool_call(self) -> ToolCall:
        # Some hosts send no id; without one the answer to the call could not name it.
        call = ToolCall(
            id=self.id or f"call_{self.position}",
            type=self.type,
            function=FunctionCall(name=self.name, arguments=str(self.arguments)),
        )
        self.extra.put_into(call)
        self.function_extra.put_into(call.function)
        return call


def too_many(what: str) -> ResponseTooLargeError:
    """The error of an answer in more parts than anything needs; each is looked for among all that came."""
    return ResponseTooLargeError(MOST_PARTS, message=f"The answer has more than {MOST_PARTS} {what}.")


class ChoiceState:
    """One choice while its chunks arrive."""

    __slots__ = (
        "content",
        "extra",
        "finish_reason",
        "fragments",
        "function",
        "index",
        "logprobs",
        "message_extra",
        "reasoning",
        "reasoning_content",
        "refusal",
        "role",
        "scored",
        "seam",
        "tool_calls",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        # Where the part that the current request brings begins: characters of text, entries of log probabilities.
        self.seam = 0, 0
        # Whether each part of the text before that has its log probabilities.
        self.scored = True
        self.role = "assistant"
        self.content = Text()
        self.reasoning_content = Text()
        self.reasoning = Text()
        self.refusal = Text()
        self.tool_calls: list[ToolCallState] = []
        # For each fragment of the chunk that came last: its call, and how long the arguments were with it.
        self.fragments: list[tuple[ToolCallState, int]] = []
        self.function: ToolCallState | None = None
        self.finish_reason: str | None = None
        self.logprobs: Logprobs | None = None
        self.extra = Extras(grow=False)
        self.message_extra = Extras(grow=True)

    def add(self, choice: ChunkChoice) -> None:
        delta = choice.delta
        self.role = delta.role or self.role
        if delta.content is not None:
            self.content.add(delta.content)
        if delta.reasoning_content is not None:
            self.reasoning_content.add(delta.reasoning_content)
        if delta.reasoning is not None:
            self.reasoning.add(delta.reasoning)
        if delta.refusal is not None:
            self.refusal.add(delta.refusal)
        if delta.tool_calls:
            self._add_tool_calls(delta.tool_calls)
        if delta.function_call is not None:
            self._add_function(delta.function_call)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        if choice.logprobs is not None:
            self._add_logprobs(choice.logprobs)
        self.extra.add(choice)
        self.message_extra.add(delta)

    def add_text(self, choice: ChunkChoice) -> bool:
        """Take note of a choice that brings text or reasoning and nothing else; False, and nothing done, otherwise."""
        delta = choice.delta
        if (
            choice.finish_reason is not None
            or choice.usage is not None
            or choice.logprobs is not None
            or choice._extra is not UNSET
            or delta.tool_calls is not None
            or delta.role is not None
            or delta.reasoning is not None
            or delta.refusal is not None
            or delta.function_call is not None
            or delta._extra is not UNSET
        ):
            return False
        if delta.content is not None:
            self.content.add(delta.content)
        if delta.reasoning_content is not None:
            self.reasoning_content.add(delta.reasoning_content)
        return True

    def _add_tool_calls(self, deltas: list[ToolCallDelta]) -> None:
        self.fragments = []
        for delta in deltas:
            call = self._tool_call_of(delta)
            call.add(delta)
            self.fragments.append((call, call.arguments.length))

    def _tool_call_of(self, delta: ToolCallDelta) -> ToolCallState:
        """The call that a fragment belongs to: the one with its id, else the last one with its index."""
        calls = self.tool_calls
        same = [call for call in calls if delta.index is None or call.index == delta.index]
        if delta.id and (known := [call for call in same if call.id == delta.id]):
            same = known
        if same and not same[-1].begins_another(delta):
            return same[-1]
        if len(calls) == MOST_PARTS:
            raise too_many("tool calls in a choice")
        place = len(calls)
        calls.append(same[-1].begin_another(place, delta) if same else ToolCallState(place, delta.index))
        return calls[-1]

    def _add_function(self, delta: FunctionCallDelta) -> None:
        if self.function is None:
            self.function = ToolCallState(0, None)
        self.function.add(ToolCallDelta(function=delta))

    def _add_logprobs(self, new: Logprobs) -> None:
        if self.logprobs is None:
            self.logprobs = Logprobs()
        known = self.logprobs
        if not isinstance(new._extra, UnsetType):
            known._extra = known._undocumented() | new._extra
        if new.content is not None:
            known.content = [] if known.content is None else known.content
            known.content.extend(new.content)
        if new.refusal is not None:
            known.refusal = [] if known.refusal is None else known.refusal
            known.refusal.extend(new.refusal)

    def go_on(self) -> None:
        """Another request goes on where this one stopped."""
        self.scored = self._is_scored()
        self.seam = self.content.length, self._scores()
        self.finish_reason = None

    @property
    def grown(self) -> bool:
        """Whether the current request has brought text."""
        return self.content.length > self.seam[0]

    @property
    def whole_logprobs(self) -> Logprobs | None:
        """The log probabilities; None where one of several parts has none, since positions would not fit the text."""
        return self.logprobs if not self.seam[0] or self._is_scored() else None

    def _is_scored(self) -> bool:
        return self.scored and (not self.grown or self._scores() > self.seam[1])

    def _scores(self) -> int:
        return len(self.logprobs.content or ()) if self.logprobs else 0

    def choice(self) -> Choice:
        message = ChatCompletionMessage(
            role=self.role,
            content=self.content.value(),
            reasoning_content=self.reasoning_content.value(),
            reasoning=self.reasoning.value(),
            refusal=self.refusal.value(),
            tool_calls=[call.tool_call() for call in self.tool_calls] or None,
            function_call=self.function.tool_call().function if self.function else None,
        )
        self.message_extra.put_into(message)
        choice = Choice(index=self.index, message=message, finish_reason=self.finish_reason)
        self.extra.put_into(choice)
        if (known := self.whole_logprobs) is not None:
            # Copies: what was handed out stays as it was while more arrives.
            content = None if known.content is None else known.content.copy()
            refusal = None if known.refusal is None else known.refusal.copy()
            choice.logprobs = Logprobs(content=content, refusal=refusal)
            choice.logprobs._extra = known._extra
        return choice
