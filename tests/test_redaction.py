"""No key, account or prompt in an exception, whatever a server echoes."""

import html
import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import APIError, AsyncMoonshot, MemoryTransport
from moonshot_async.redaction import Redactor, Unseen, forget_locals
from moonshot_async.wire import Headers, Request, Response

PROMPT = 'Canary prompt: the patient, born 1970 in Malmö, said "it hurts"\nand went home early in the evening.'
KEY = "sk-canary-key-0123456789"
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": PROMPT}]}


def redactor(body: Any = ASK, sent: dict[str, str] | None = None, received: dict[str, str] | None = None) -> Redactor:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Redactor(Request("POST", "http://x.test/v1", Headers(sent or {}), content), Headers(received or {}))


def everything_of(error: BaseException) -> str:
    """All that a log or an error tracker could get hold of, texts unescaped."""
    shown = [str(error), repr(error), repr(vars(error)), pickle.dumps(error).decode("latin-1")]
    response = getattr(error, "response", None)
    if response is not None:
        shown += [response.text, html.unescape(response.text), repr(dict(response.headers))]
        if response.text.startswith("{"):
            shown.append(repr(response.json()))
    return "\n".join(shown)


ECHOES: dict[str, Callable[[str], bytes]] = {
    "json": lambda prompt: json.dumps({"error": {"type": "x", "message": f"bad: {prompt}", "param": prompt}}).encode(),
    "json as it is": lambda prompt: json.dumps({"you_sent": [{"content": prompt}]}, ensure_ascii=False).encode(),
    "name": lambda prompt: json.dumps({"error": {prompt: 1, "message": "bad"}}).encode(),
    "text": lambda prompt: f"cannot read {prompt}.".encode(),
    "page": lambda prompt: f"<html><body>{html.escape(prompt)}</body></html>".encode(),
    "escaped text": lambda prompt: f"no: {json.dumps(prompt)} at 7".encode(),
    "cut": lambda prompt: f"cannot read {prompt[:40]}".encode(),
    "cut and gone on": lambda prompt: f"cannot read {prompt[:40]}... (truncated)".encode(),
    "cut short": lambda prompt: f"cannot read {prompt[:15]}".encode(),
    "long before": lambda prompt: b'{"x": "' + b"y" * 1960 + json.dumps(prompt).encode()[1:] + b"}",
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("status", [200, 400, 429, 500])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_the_server_echoes_is_hidden(
    echo: Callable[[str], bytes], status: int, stream: bool
) -> None:
    async def app(request: Request) -> Response:
        return Response(status, {"content-type": "application/json"}, echo(PROMPT))

    async with AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), max_retries=0) as client:
        with pytest.raises(APIError) as caught:
            answer = await client.chat.completions.create(**ASK, stream=stream)
            async for _ in answer:
                pass

    shown = everything_of(caught.value)
    assert PROMPT[:15] not in shown
    assert "went home" not in shown


@pytest.mark.parametrize("frame", ["event: error\ndata: %s\n\n", "data: %s\n\n"])
async def test_a_prompt_in_an_event_of_a_stream_is_hidden(frame: str) -> None:
    error = json.dumps({"error": {"type": "x", "message": f"cannot: {PROMPT}", "code": PROMPT, "param": PROMPT}})

    async def app(request: Request) -> Response:
        return Response(200, {"content-type": "text/event-stream"}, (frame % error).encode())

    async with AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app)) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)
        with pytest.raises(APIError) as caught:
            await anext(stream)

    assert caught.value.message == "cannot: ***"
    assert caught.value.param == caught.value.code == "***"
    assert PROMPT[:15] not in everything_of(caught.value)


def test_every_text_of_a_request_counts() -> None:
    texts = ["system text", "part text", "thoughts of it", '{"city": "Oslo"}', "a tool's answer"]
    body = {
        "messages": [
            {"role": "system", "content": texts[0]},
            {"role": "user", "content": [{"type": "text", "text": texts[1]}, {"type": "image_url", "image_url": "x"}]},
            {"role": "assistant", "reasoning_content": texts[2], "tool_calls": [{"function": {"arguments": texts[3]}}]},
            {"role": "tool", "content": texts[4], "tool_call_id": "a:0"},
            {"role": "assistant", "tool_calls": [{}], "content": None},
        ],
    }

    assert redactor(body).text(" | ".join(texts)) == " | ".join(["***"] * 5)
    assert redactor({"prediction": {"content": "what it was"}}).text("no what it was") == "no ***"
    assert redactor({"text_query": "somebody's name"}).text("no somebody's name") == "no ***"
    assert redactor({"name": "x", "arguments": '{"q": "me"}'}).text('{"q": "me"}') == "***"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"messages": 1}',
        b'{"messages": [1]}',
        b"\xff",
        b"--boundary\r\nwhat the server says",
        b'{"messages": []}',
    ],
)
def test_a_request_of_any_other_kind_hides_nothing(body: bytes) -> None:
    assert redactor(body).text("what the server says") == "what the server says"


def test_texts_of_other_surfaces_and_bodies_count_too() -> None:
    body = {"system": [{"type": "text", "text": "be kind, always"}], "input": "and how?", "instructions": "in short"}

    assert redactor(body).text("be kind, always: and how? in short") == "***: *** ***"
    assert (
        redactor(["first text", {"role": "nothing", "it": "second text"}]).text("first text second text") == "*** ***"
    )
    assert redactor(b"a plain text").text("no: a plain text") == "no: ***"


def test_words_are_left_alone() -> None:
    assert redactor({"messages": [{"content": "text"}]}).text("text content is empty") == "text content is empty"


def test_the_class_of_an_error_does_not_depend_on_the_prompt() -> None:
    from moonshot_async.errors import QuotaExceededError
    from moonshot_async.status_errors import status_error

    body = json.dumps({"messages": [{"content": "insufficient balance"}]}).encode()
    text = b'{"error": {"message": "your account has an insufficient balance"}}'
    error = status_error(Request("POST", "http://x.test", body=body), Response(429), text)

    assert type(error) is QuotaExceededError
    assert "has an ***" in str(error)


def test_keys_and_accounts_are_hidden_in_all_their_places() -> None:
    sent = {"Authorization": f"Bearer {KEY}", "Cookie": "a=first-cookie-value; b=second-cookie-value"}
    found = redactor(sent=sent, received={"Msh-Org-Id": "org-77", "Msh-Uid": "cq7abc"})

    said = f"{KEY} second-cookie-value first-cookie-value org-77 cq7abc"
    assert found.text(said) == " ".join(["***"] * 5)
    assert found.content(json.dumps({"key": KEY}).replace("s", "\\u0073").encode()) == b'{"key":"***"}'
    assert dict(found.headers(Headers({"X-A": f"is {KEY}", "Msh-Org-Id": "org-77"}))) == {
        "X-A": "is ***",
        "Msh-Org-Id": "***",
    }


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Your account org-c8f3a<ak-f4x2> request reached organization max RPM: 3",
            "Your account *** request reached organization max RPM: 3",
        ),
        ("Your account cq7k2 is suspended", "Your account *** is suspended"),
        ("Your account org request reached", "Your account org request reached"),
        ("please check your account balance", "please check your account balance"),
    ],
)
def test_the_account_in_a_refusal_is_hidden(said: str, shown: str) -> None:
    assert redactor().text(said) == shown
    assert redactor().content(said.encode()) == shown.encode()


def test_a_body_without_secrets_stays_as_it_came() -> None:
    for content in (b'{ "a" : 1.50 }', b"plain", b"\xff\xfe", b"<html></html>", b"[" * 5000):
        assert redactor().content(content) == content


@given(st.text(min_size=6).filter(lambda text: len(text.strip()) >= 6), st.text(), st.text())
def test_no_text_is_ever_left_whole(prompt: str, before: str, after: str) -> None:
    found = redactor({"messages": [{"role": "user", "content": prompt}]})

    shown = found.text(before + prompt + after)

    assert prompt in "******" or prompt not in shown or prompt in before + after or "***" in prompt


@pytest.mark.parametrize("content", [{"text": PROMPT}, [PROMPT], [{"type": "text", "text": {"value": PROMPT}}]])
def test_a_message_of_a_shape_that_no_server_takes_is_hidden(content: Any) -> None:
    found = redactor(
        {"messages": [{"role": "user", "content": "ordinary one"}, {"role": "assistant", "content": content}]}
    )

    assert found.text(f"assistant: {PROMPT} and ordinary one") == "assistant: *** and ***"


def test_secrets_that_overlap_are_hidden_as_far_as_they_go() -> None:
    found = redactor({"messages": [{"content": "abcdef"}, {"content": "defghijklmnopqrstuvwxyz0123456789"}]})

    assert found.text("x abcdefghijklmnopqrstuvwxyz012345 y") == "x *** y"


def test_what_only_begins_like_a_secret_is_left_alone() -> None:
    found = redactor({"messages": [{"content": "abcdefgh"}]})

    assert found.text("abcdefxx abcdefgh and abcdefgh.") == "abcdefxx *** and ***."


def test_thousands_of_messages_do_not_hold_up_the_event_loop() -> None:
    alike = [{"content": f"The user says this, word for word: {number * 7919}"} for number in range(2000)]
    found = redactor({"messages": alike})
    said = ["The user says this, word for word: "] * 1000 + ["abcdef"] * 4000
    began = time.process_time()

    shown = found.content(json.dumps(said).encode())

    # Looking for each message in each text would take half a minute.
    assert time.process_time() - began < 3
    assert json.loads(shown) == ["***"] * 1000 + ["abcdef"] * 4000


def test_of_a_large_answer_the_beginning_is_kept() -> None:
    began = time.process_time()

    assert len(redactor().content(b"x" * 64 * 1024 * 1024)) == 256 * 1024
    assert redactor().content(b'"' + b"x" * 300_000) == b'"' + b"x" * (256 * 1024 - 1)
    assert time.process_time() - began < 3


def raised(error: Exception, cause: Exception | None = None, module: str = "moonshot_async.x") -> Exception:
    """An exception that went through a frame of the package with an argument."""
    names: dict[str, Any] = {"__name__": module, "error": error, "cause": cause}
    exec("def f(argument):\n    raise error from cause", names)
    try:
        names["f"](KEY)
    except Exception as caught:  # noqa: BLE001  # it is what was asked for
        return caught
    raise AssertionError


def locals_of(error: BaseException) -> dict[str, Any]:
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_next is not None
    return error.__traceback__.tb_next.tb_frame.f_locals


def test_frames_of_the_package_are_emptied_and_no_others() -> None:
    below = raised(KeyError())
    error, foreign = raised(ValueError(), below), raised(ValueError(), module="somebody")
    # Whoever handles one while the other is raised makes a circle.
    below.__context__ = error

    forget_locals(error)
    forget_locals(foreign)

    assert dict(locals_of(error)) == dict(locals_of(below)) == {}
    assert locals_of(foreign)["argument"] == KEY


def test_arguments_go_when_they_were_used_and_when_they_were_refused() -> None:
    used, refused = {"prompt": PROMPT}, {"prompt": PROMPT}

    with Unseen(used):
        assert used
    with pytest.raises(ValueError, match="x") as caught, Unseen(refused):
        raise raised(ValueError("x"))

    assert used == refused == {}
    assert KEY not in "".join(repr(dict(trace.frame.f_locals)) for trace in caught.traceback[-1:])
