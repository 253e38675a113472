"""Chat completions, for requests and for the lines of a batch alike.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from moonshot_async.catalog import Catalog, Model
from moonshot_async.fake import rules, shapes
from moonshot_async.fake.account import Account
from moonshot_async.fake.answers import WEB_SEARCH, Answer, answer, prompt_tokens, with_logprobs
from moonshot_async.fake.bodies import PacedBody, Sleep
from moonshot_async.fake.faults import CHAT_PATH, StreamFault
from moonshot_async.fake.limits import Limiter
from moonshot_async.fake.routes import Call, Route, json_response
from moonshot_async.fake.rules import RefusedError
from moonshot_async.fake.samples import UnusableSchemaError
from moonshot_async.fake.signatures import Signatures
from moonshot_async.wire import Response

_Payload: TypeAlias = Mapping[str, Any]


class Completion(msgspec.Struct, frozen=True):
    """An answer, before it is written down; `head` holds id, created and model."""

    head: Mapping[str, Any]
    choices: list[Answer]
    usage: Mapping[str, Any]

    def web_searches(self) -> int:
        """How many calls of `$web_search` it asks for; each has a fee."""
        return sum(call.name == WEB_SEARCH for choice in self.choices for call in choice.tool_calls)


class Writer(msgspec.Struct, frozen=True):
    """The model behind the endpoint: checks what is asked, and answers.

    Attributes:
        catalog, legacy_models: which models there are.
        purpose_of: the purpose of a file that a prompt refers to; None for one that does not exist.
        clock: the time for `created`, in Unix seconds.
        seed: another one gives other answers.
    """

    catalog: Catalog
    legacy_models: bool
    purpose_of: Callable[[str], str | None]
    clock: Callable[[], float]
    seed: int

    def check(self, payload: Any) -> Model:
        """The model that answers `payload`.

        Raises:
            RefusedError: the service would not answer this.
        """
        return rules.check_chat(payload, self.catalog, legacy_models=self.legacy_models, purpose_of=self.purpose_of)

    def answer(self, payload: _Payload, model: Model, id: str, scripted: Answer | None = None) -> Completion:
        """Answer what `check` has found to be in order.

        Raises:
            RefusedError: the schema of the answer cannot be met.
        """
        count = payload.get("n") or 1
        try:
            if scripted is not None:
                choices = [with_logprobs(payload, scripted)] * count
            else:
                choices = [answer(payload, model, seed=self.seed, index=index) for index in range(count)]
        except UnusableSchemaError as error:
            raise RefusedError(f"Invalid request: {error}") from None
        head = {"id": id, "created": int(self.clock()), "model": payload["model"]}
        return Completion(head, choices, shapes.usage_of(payload, model, choices))


class Chat:
    """The endpoint.

    Args:
        writer: answers.
        account: pays.
        limiter: admits; None for everybody.
        signatures: signs.
        scripted: the scripted outcome for a request to a path that is in order, and streams or not.
        pace: the pause before each chunk of a stream, in seconds.
        sleep: waits.
    """

    def __init__(
        self,
        writer: Writer,
        account: Account,
        limiter: Limiter | None,
        signatures: Signatures,
        *,
        scripted: Callable[[str, bool], Answer | StreamFault | None],
        pace: Callable[[], float],
        sleep: Sleep,
    ) -> None:
        self._writer = writer
        self._account = account
        self._limiter = limiter
        self._signatures = signatures
        self._scripted = scripted
        self._pace = pace
        self._sleep = sleep

    def routes(self) -> tuple[Route, ...]:
        return (Route("POST", CHAT_PATH, self._create),)

    def _create(self, call: Call) -> Response:
        payload = call.json()
        model = self._writer.check(payload)
        self._account.check()
        if self._limiter is None:
            return self._answered(call, payload, model)[0]
        prompt, _ = prompt_tokens(payload)
        most = payload.get("max_completion_tokens") or payload.get("max_tokens") or model.default_output_tokens
        self._limiter.admit(prompt, most)
        try:
            response, usage = self._answered(call, payload, model)
        except RefusedError:
            self._limiter.give_back()
            raise
        self._limiter.attach(response, usage.get("total_tokens") or 0)
        return response

    def _answered(self, call: Call, payload: _Payload, model: Model) -> tuple[Response, Mapping[str, Any]]:
        """The answer to a request that was admitted, paid for; and what it used."""
        scripted = self._scripted(CHAT_PATH, bool(payload.get("stream")))
        reply = scripted if isinstance(scripted, Answer) else None
        completion = self._writer.answer(payload, model, f"chatcmpl-{call.number:012d}", reply)
        ttl = (payload.get("prompt_cache_options") or {}).get("ttl")
        self._account.charge_tokens(model.id, completion.usage, cache_ttl=ttl)
        self._account.charge_call(WEB_SEARCH, completion.web_searches())
        response = self._written(payload, completion, scripted)
        if signed := self._signatures.headers(call.headers, payload["model"]):
            response.headers = response.headers.merged(dict(signed))
        return response, completion.usage

    def _written(self, payload: _Payload, completion: Completion, scripted: Answer | StreamFault | None) -> Response:
        head, choices, usage = completion.head, completion.choices, completion.usage
        if not payload.get("stream"):
            return json_response(shapes.completion(head, choices, usage))
        include_usage = bool((payload.get("stream_options") or {}).get("include_usage"))
        frames = shapes.chunks(head, choices, usage, include_usage=include_usage)
        frames = scripted.wrap(frames) if isinstance(scripted, StreamFault) else _done(frames)
        return Response(200, [("Content-Type", "text/event-stream")], PacedBody(frames, self._pace, self._sleep))


def _done(frames: Iterator[bytes]) -> Iterator[bytes]:
    yield from frames
    yield shapes.DONE
