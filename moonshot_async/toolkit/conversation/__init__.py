"""`Conversation`: a history that stays valid for the API, and inside the model's context window.

    conversation = Conversation(client, model="kimi-k2.6", system="You are brief.")
    print(await conversation.ask("Name three rivers of Asia."))
    print(await conversation.ask("Which is the longest?"))
    await conversation.save("rivers.json")

The way of a question: `steps.py` makes a draft of the history (`history.py`) that ends with it, drops turns until it
fits (`trimming.py`, by what `tokens.py` knows of their size), and takes the draft for the history once the answer is
whole; `questions.py` and `runs.py` send, `streams.py` hands events out, `messages.py` refuses what the API would
refuse, `files.py` saves. Which model is asked is decided by `toolkit/model_choice.py`.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from moonshot_async.errors import ConversationError
from moonshot_async.redaction import forget_locals
from moonshot_async.toolkit.conversation.additions import Additions
from moonshot_async.toolkit.conversation.asking import Summarise, asking_of, checked_options
from moonshot_async.toolkit.conversation.history import History
from moonshot_async.toolkit.conversation.keeping import Keeping
from moonshot_async.toolkit.conversation.messages import Content
from moonshot_async.toolkit.conversation.questions import Question, Source, Streamed
from moonshot_async.toolkit.conversation.replies import Reply, Spent
from moonshot_async.toolkit.conversation.runs import Run
from moonshot_async.toolkit.conversation.state import unseen
from moonshot_async.toolkit.conversation.steps import Step
from moonshot_async.toolkit.conversation.streams import ReplyStream, ReplyStreamManager
from moonshot_async.toolkit.conversation.trimming import DropOldest, TrimPolicy
from moonshot_async.toolkit.model_choice import choose_model
from moonshot_async.types.chat_messages import ChatMessage
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven, message_list

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.toolkit.functions.loop.runners import ToolLike

__all__ = [
    "Content",
    "Conversation",
    "DropOldest",
    "Reply",
    "ReplyStream",
    "ReplyStreamManager",
    "Summarise",
    "TrimPolicy",
    "choose_model",
]

_DROP_OLDEST = DropOldest()


class Conversation(Additions, Keeping):
    """What was said so far, and the way to go on: `await conversation.ask("…")`, `conversation.stream("…")`.

    The history is at every moment one that the API accepts, or waits for answers of tools; a step that would break it
    is refused at once. A question that fails, is cut or cancelled leaves the history as it was before. One question is
    asked at a time: another one meanwhile is refused. Not to be used from several threads.

    Once prompt and answer would not fit into the context window any more, the oldest turns are dropped: whole ones, so
    that no call of a tool loses its answers. System messages and pinned ones stay. Where the API finds a prompt too
    long all the same, it is shortened once more, by what the API says.

    Args:
        client: asks.
        model: the id; ids to choose from, the smallest sufficient window first, then the price; None for all that the
            client's catalog has.
        system: the system message.
        messages: what was said before, in the API's form.
        tools: definitions, whose calls you answer with `add_tool_answer`; or functions (`@tool`) and whatever else
            `run_tools` takes, which are run then.
        tool_options: keywords for `run_tools`: `context`, `max_steps`, `approve` and so on.
        max_context_tokens: use no more of the window, for prompt and answer together; None for all of it.
        max_completion_tokens: what an answer may have. None for what the model takes by itself; where that is more than
            half of the window, a quarter of the window is sent.
        trim: how much goes when it becomes too much; None to drop nothing and leave it to the API to refuse.
        summarise: a function, async or not, that gets the messages that go and returns a text, which takes their place
            as a system message.
        prompt_cache_key: names the conversation to the service's cache, so that its requests find the prefix that they
            share. One is made at random, and kept when it is saved; None to send none.
        **options: what else `client.chat.completions.create` takes, sent with every question.

    Raises:
        ConversationError: the API would refuse `messages`; says which.
        ConfigurationError: something else cannot work.
        TypeError: a keyword does not exist.

    See: https://platform.kimi.ai/docs/api/chat
    """

    def __init__(
        self,
        client: "AsyncMoonshot",
        *,
        model: str | Iterable[str] | None = None,
        system: Content | None = None,
        messages: Iterable[ChatMessage] | None = None,
        tools: "Iterable[ToolLike] | None" = None,
        tool_options: Mapping[str, Any] | None = None,
        max_context_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        trim: TrimPolicy | None = _DROP_OLDEST,
        summarise: Summarise | None = None,
        prompt_cache_key: str | NotGiven | None = NOT_GIVEN,
        **options: Any,
    ) -> None:
        try:
            self._asking = asking_of(
                client,
                model=model,
                tools=tools,
                tool_options=tool_options,
                max_context_tokens=max_context_tokens,
                max_completion_tokens=max_completion_tokens,
                trim=trim,
                summarise=summarise,
                prompt_cache_key=prompt_cache_key,
                options=options,
            )
            self._history = History(self._asking.beside())
            self._spent = Spent()
            self._busy = False
            if system is not None:
                self._history.append(self._entry({"role": "system", "content": system}))
            self._replay([] if messages is None else message_list(messages))
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            options.clear()
            del system, messages

    async def ask(self, content: Content | None = None, *, pin: bool = False, **options: Any) -> Reply:
        """Ask, and wait for the whole answer.

        Where tools are functions, those that the model calls are run, until it answers. Else an answer with calls is
        appended: answer them with `add_tool_answer`, then call this again without content.

        Args:
            content: text, or parts (see `moonshot_async.toolkit.media`); None to have the messages answered that were
                added before.
            pin: keep the question, though not its answer, when its turn is dropped.
            **options: for this call; they count instead of the conversation's.

        Raises:
            ConversationError: it cannot be asked now: calls wait for answers, or another question for its own.
            ContextWindowError: what has to stay does not fit the window; before any I/O, or where tools are run, before
                the request of the step whose answers were too long.
            EmptyAnswerError: the model answered nothing; the answer is in `.completion`.
            ContentFilterFinishReasonError: moderation cut the answer, which is not kept.
            APIError: as for `create`.
        """
        try:
            begin = self._prepared("ask", content, pin, options)
        finally:
            del content
            options.clear()
        question = begin()
        try:
            if not self._asking.functions:
                return await question.once()
            run = Run(question)
            try:
                await run.open()
                return await ReplyStream(run).get_reply()
            finally:
                await run.aclose()
        finally:
            self._busy = False

    def stream(self, content: Content | None = None, *, pin: bool = False, **options: Any) -> ReplyStreamManager:
        """Ask, and read the answer as events: `async with conversation.stream("…") as stream`.

        Args:
            content, pin: as for `ask`.
            **options: as for `ask`, and `resume` and `continue_on_length` of `client.chat.completions.stream`.

        Raises:
            ConversationError: as for `ask`; what hangs on the history, when the stream is entered.
        """
        try:
            begin = self._prepared("stream", content, pin, options)
        finally:
            del content
            options.clear()

        def source() -> Source:
            question = begin()
            return Run(question) if question.asking.functions else Streamed(question)

        return ReplyStreamManager(source, self._free)

    @unseen
    def _prepared(
        self, call: str, content: Content | None, pin: bool, options: Mapping[str, Any]
    ) -> Callable[[], Question]:
        """Check a question; what is returned takes the place of the one that is asked at a time."""
        checked = checked_options(options, call=call)
        if content is None and pin:
            raise ConversationError("pin= is for the question: pass content")
        entry = None if content is None else self._entry({"role": "user", "content": content}, pin=pin)

        def begin() -> Question:
            self._check_free()
            draft = self._history.copy()
            if entry is not None:
                # An entry of its own each time: a stream that is entered once more asks once more.
                draft.append(msgspec.structs.replace(entry))
            draft.check_askable()
            question = Question(self._asking, Step(self._asking, draft, checked), self._spent, self._keep)
            self._busy = True
            return question

        return begin
