"""The parts of one choice: which have begun, which are complete, and the events that tell of both."""

import json
from typing import Any

from moonshot_async.accumulate import ChoiceState, ToolCallState
from moonshot_async.chat_events import (
    ChatStreamEvent,
    ContentDeltaEvent,
    ContentDoneEvent,
    LogprobsEvent,
    ReasoningDeltaEvent,
    ReasoningDoneEvent,
    RefusalDeltaEvent,
    RefusalDoneEvent,
    ToolCallDeltaEvent,
    ToolCallDoneEvent,
    so_far,
)
from moonshot_async.structured import Parsing
from moonshot_async.types.chat import ChunkChoice, Logprobs
from moonshot_async.types.parsed import ParsedChatCompletionMessage


class OpenParts:
    """Which parts of a choice have begun and not been told as done, and what those that were are parsed."""

    __slots__ = (
        "arguments",
        "begun",
        "held",
        "logprobs",
        "parsed",
        "parsing",
        "reasoning",
        "refusal",
        "state",
        "structured",
        "text",
        "told",
    )

    def __init__(self, state: ChoiceState, parsing: Parsing[Any]) -> None:
        self.state = state
        self.parsing = parsing
        self.structured = parsing.has_type
        self.parsed: Any = None
        # By the position of the tool call.
        self.arguments: dict[int, Any] = {}
        self.text = False
        self.reasoning = False
        self.refusal = False
        self.logprobs = False
        # How many tool calls have begun, and which of them were told as done.
        self.begun = 0
        self.told: set[int] = set()
        # Whether the choice has ended, but will go on: then nothing is told as done.
        self.held = False

    def handle(self, choice: ChunkChoice, events: list[ChatStreamEvent[Any]]) -> None:
        delta, state, index = choice.delta, self.state, choice.index
        if delta.reasoning_content:
            self.reasoning = True
            events.append(ReasoningDeltaEvent(delta.reasoning_content, state.reasoning_content, index))
        elif delta.reasoning:
            self.reasoning = True
            events.append(ReasoningDeltaEvent(delta.reasoning, state.reasoning, index))
        if delta.content is not None:
            if delta.content:
                self._end_reasoning(events)
                self.text = True
            structured = self.structured and not state.refusal.length
            events.append(ContentDeltaEvent(delta.content, state.content, index, structured))
        if delta.refusal:
            self.refusal = True
            events.append(RefusalDeltaEvent(delta.refusal, state.refusal, index))
        if delta.tool_calls:
            self._end_reasoning(events)
            for fragment, (call, length) in zip(delta.tool_calls, state.fragments, strict=True):
                piece = (fragment.function and fragment.function.arguments) or ""
                events.append(ToolCallDeltaEvent(call, piece, length, index, self.parsing.has_tool(call.name)))
        if choice.logprobs is not None:
            self._handle_logprobs(choice.logprobs, events)
        if len(state.tool_calls) > self.begun:
            self._end_texts(events)
            self._end_calls(events, begun=len(state.tool_calls))
        if choice.finish_reason and not self.held:
            self._end_reasoning(events)
            self._end_texts(events)
            self._end_calls(events)

    def _handle_logprobs(self, new: Logprobs, events: list[ChatStreamEvent[Any]]) -> None:
        known, index = self.state.logprobs, self.state.index
        self.logprobs = True
        if new.content and known and known.content:
            events.append(LogprobsEvent("logprobs.content.delta", new.content, known.content, index))
        if new.refusal and known and known.refusal:
            events.append(LogprobsEvent("logprobs.refusal.delta", new.refusal, known.refusal, index))

    def _end_reasoning(self, events: list[ChatStreamEvent[Any]]) -> None:
        if self.reasoning:
            self.reasoning = False
            state = self.state
            text = str(state.reasoning_content) or str(state.reasoning)
            events.append(ReasoningDoneEvent(text, state.index))

    def _end_texts(self, events: list[ChatStreamEvent[Any]]) -> None:
        state = self.state
        if self.text:
            self.text = False
            text, calls = str(state.content), bool(state.tool_calls or state.function)
            self.parsed = self.parsing.content(text, refused=state.refusal.length > 0, calls=calls)
            events.append(ContentDoneEvent(text, state.index, self.parsed))
        if self.refusal:
            self.refusal = False
            events.append(RefusalDoneEvent(str(state.refusal), state.index))
        if self.logprobs and (whole := state.whole_logprobs) is not None:
            self.logprobs = False
            if known := whole.content:
                events.append(LogprobsEvent("logprobs.content.done", known.copy(), known, state.index))
            if known := whole.refusal:
                events.append(LogprobsEvent("logprobs.refusal.done", known.copy(), known, state.index))

    def _end_calls(self, events: list[ChatStreamEvent[Any]], *, begun: int | None = None) -> None:
        """Tell of calls that are complete: at the end of the choice all, and when another begins (`begun` of them now)
        those before it whose arguments are whole. Fragments of parallel calls may mix, so the others wait.
        """
        calls = self.state.tool_calls
        if begun is not None:
            calls, self.begun = calls[max(0, self.begun - 1) : begun - 1], begun
        for call in calls:
            if call.position in self.told:
                continue
            arguments = _json_value(str(call.arguments))
            if begun is None or (call.name and isinstance(arguments, dict)):
                self.told.add(call.position)
                if self._is_parsed(call):
                    arguments = self.parsing.arguments(call.name, str(call.arguments))
                    self.arguments[call.position] = arguments
                events.append(ToolCallDoneEvent(call, self.state.index, arguments))

    def _is_parsed(self, call: ToolCallState) -> bool:
        return call.type == "function" and self.parsing.has_tool(call.name)

    def fill_in(self, message: ParsedChatCompletionMessage[Any]) -> None:
        """Put what is parsed so far into a message."""
        state = self.state
        if self.structured and not state.refusal.length:
            message.parsed = so_far(str(state.content)) if self.text else self.parsed
        for call, parsed in zip(state.tool_calls, message.tool_calls or (), strict=True):
            if self._is_parsed(call):
                done = call.position in self.arguments
                value = self.arguments[call.position] if done else so_far(str(call.arguments))
                parsed.function.parsed_arguments = value


def _json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
