"""Questions about documents: what is sent, and whether it fits."""

import json
import pickle
from typing import Any

import pytest

from moonshot_async import CATALOG, NOT_GIVEN
from moonshot_async.errors import (
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    ContextWindowError,
    DocumentsError,
    DocumentsTooLongError,
    InternalServerError,
)
from moonshot_async.toolkit.documents import Documents, questions
from moonshot_async.toolkit.media import text, upload_image
from tests.secrets_scan import CANARY_PROMPT
from tests.toolkit.file_world import PNG, Hold, World

pytestmark = pytest.mark.usefixtures("no_leaks")

FILES: list[Any] = [("b.txt", b"Bee."), ("a.txt", b"Ant."), ("empty.txt", b"")]
LARGE: list[Any] = [("long.txt", b"long " * 120_000), ("longer.txt", b"longer " * 120_000), ("c.txt", b"short")]


@pytest.fixture
def world() -> World:
    return World()


def asked(world: World) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(world.fake.last_request.content)
    return payload


async def test_the_documents_stand_before_the_question_in_their_order(world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        answer = await documents.ask(
            FILES, "Which insects?", model="kimi-k2.6", system="Be brief.", max_completion_tokens=3000, tools=[]
        )
        payload = asked(world)
        assert [message["role"] for message in payload["messages"]] == ["system"] * 3 + ["user"]
        assert payload["messages"][0]["content"] == "Be brief."
        assert [json.loads(message["content"])["filename"] for message in payload["messages"][1:3]] == [
            "b.txt",
            "a.txt",
        ]
        assert payload["max_completion_tokens"] == 3000
        assert [document.name for document in answer.errors] == ["empty.txt"]
        assert answer.text
        assert repr(answer) == "<DocumentAnswer: 3 documents, 1 of them not read>"

        # The same files give the same bytes, whoever was uploaded first: the prefix stays in the service's cache.
        await documents.ask(FILES, "Which colors?", model="kimi-k2.6", system="Be brief.")
        assert asked(world)["messages"][:-1] == payload["messages"][:-1]

        # And the conversation goes on from there.
        messages = [*answer.messages, answer.completion.choices[0].message, {"role": "user", "content": "And birds?"}]
        await client.chat.completions.create(model="kimi-k2.6", messages=messages)


async def test_equal_files_have_a_message_each(world: World) -> None:
    async with world.client() as client:
        messages = await Documents(client).messages([("a.txt", b"alike"), ("b.txt", b"alike")])
    assert [json.loads(str(message["content"]))["filename"] for message in messages] == ["a.txt", "b.txt"]
    assert world.uploads == 1


async def test_a_question_may_have_parts(world: World) -> None:
    async with world.client() as client:
        await Documents(client).ask(FILES[:1], [text("What?")], model="kimi-k2.6")
    assert asked(world)["messages"][-1]["content"] == [{"type": "text", "text": "What?"}]


async def test_pictures_in_a_question_are_counted_by_the_service(world: World) -> None:
    async with world.client() as client:
        picture = await upload_image(client, ("dot.png", PNG))
        answer = await Documents(client).ask(FILES[:1], [picture, text("What?")], model="kimi-k2.6")
    assert answer.estimated_tokens is not None
    assert answer.completion.usage is not None
    assert answer.estimated_tokens == answer.completion.usage.prompt_tokens


async def test_there_is_no_answer_about_no_files(world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(ConfigurationError, match="no files"):
            await documents.ask([], "What?", model="kimi-k2.6")
        assert await documents.extract_many([]) == []
    assert not world.asked


async def test_the_service_judges_how_long_an_answer_may_be(world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(BadRequestError):
            await documents.ask(FILES, "What?", model="kimi-k2.6", max_completion_tokens="many")
        assert (await documents.ask(FILES, "What?", model="kimi-k2.6", max_completion_tokens=NOT_GIVEN)).text


async def test_an_answer_may_be_empty(world: World) -> None:
    world.fake.reply(None, finish_reason="length")
    async with world.client() as client:
        answer = await Documents(client).ask(FILES[:1], "What?", model="kimi-k2.6")
    assert (answer.text, answer.completion.choices[0].finish_reason) == ("", "length")


async def test_without_a_document_nothing_is_asked(world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(DocumentsError, match=r"1 of 1 documents could not be read: .*empty"):
            await documents.ask(FILES[2:], "What?", model="kimi-k2.6")
        with pytest.raises(DocumentsError, match=r"empty\.txt"):
            await documents.ask(FILES, "What?", model="kimi-k2.6", errors="raise")
        with pytest.raises(DocumentsError, match=r"empty\.txt"):
            await documents.messages(FILES)
    assert not world.asked["ask"]


async def test_what_surely_fits_needs_no_estimate(world: World) -> None:
    async with world.client() as client:
        answer = await Documents(client).ask(FILES[:2], "What?", model="kimi-k2.6")
    assert answer.estimated_tokens is None
    assert not world.asked["estimate"]


async def test_what_may_not_fit_is_estimated_first(world: World) -> None:
    async with world.client() as client:
        answer = await Documents(client).ask(LARGE[:1], "What?", model="kimi-k2.6")
    assert world.asked["estimate"] == 1
    assert answer.completion.usage is not None
    assert answer.estimated_tokens == answer.completion.usage.prompt_tokens


@pytest.mark.parametrize("room", [{"max_completion_tokens": 150_000}, {"max_tokens": 150_000}, {}])
async def test_what_does_not_fit_is_not_asked(room: Any, world: World) -> None:
    files = LARGE if room else [*LARGE, ("longest.txt", b"longest " * 120_000)]
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(DocumentsTooLongError) as caught:
            await documents.ask(files, CANARY_PROMPT, model="kimi-k2.6", **room)
    assert not world.asked["ask"]
    error = caught.value
    assert isinstance(error, ContextWindowError)
    answer = 150_000 if room else 1024
    assert (error.model, error.window_tokens) == ("kimi-k2.6", 262_144)
    assert error.needed_tokens == error.prompt_tokens + answer
    assert [name for name, _ in error.largest][-3:] == (
        ["longer.txt", "long.txt", "c.txt"] if room else ["longest.txt", "longer.txt", "long.txt"]
    )
    assert sum(tokens for _, tokens in error.largest) == pytest.approx(error.prompt_tokens, rel=0.01)
    for said in (f"{error.prompt_tokens:,}", f"{262_144 - answer:,}", "262,144", "kimi-k3", "1,048,576", "longer"):
        assert said in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_where_no_window_is_large_enough_none_is_named(world: World) -> None:
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(DocumentsTooLongError, match=r"fewer at a time\.$"):
            await documents.ask(LARGE, "What?", model="kimi-k2.6", max_completion_tokens=1_048_000)


async def test_tools_and_schemas_count_too(world: World) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": "long " * 200_000}}}
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(DocumentsTooLongError):
            await documents.ask(LARGE[:1], "What?", model="kimi-k2.6", response_format=schema)


async def test_what_no_request_can_carry_is_not_sent_to_be_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "_MAX_REQUEST_BYTES", 1000)
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(DocumentsTooLongError):
            await documents.ask(LARGE[:1], "What?", model="kimi-k2.6")
    assert not world.asked["estimate"]


@pytest.mark.parametrize(
    "text", ["Your request exceeded model token limit: 5 (requested: 300000)", "Input token length too long"]
)
async def test_an_estimate_may_say_itself_that_it_does_not_fit(text: str, world: World) -> None:
    world.fake.fail(400, message=text, path="/tokenizers/estimate-token-count")
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(DocumentsTooLongError) as caught:
            await documents.ask(LARGE[:1], "What?", model="kimi-k2.6")
    assert caught.value.prompt_tokens == (300_000 if "300000" in text else 261_121)


async def test_a_host_that_counts_nothing_is_asked_all_the_same(world: World) -> None:
    world.fake.fail(404, path="/tokenizers/estimate-token-count")
    async with world.client() as client:
        answer = await Documents(client).ask(LARGE[:1], "What?", model="kimi-k2.6")
    assert answer.estimated_tokens is None


async def test_an_estimate_that_fails_is_no_estimate(world: World) -> None:
    world.fake.fail(500, path="/tokenizers/estimate-token-count")
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(InternalServerError):
            await documents.ask([("a.txt", CANARY_PROMPT.encode() * 10_000)], CANARY_PROMPT, model="kimi-k2.6")


async def test_the_window_of_a_model_that_the_catalog_does_not_know_is_looked_up(world: World) -> None:
    models = {**CATALOG.models}
    del models["kimi-k2.6"]
    catalog = type(CATALOG)(CATALOG.as_of, models, CATALOG.retired, CATALOG.tiers)
    async with world.client() as client:
        documents = Documents(client, catalog=catalog)
        await documents.ask(FILES[:1], "What?", model="kimi-k2.6")
        assert world.asked["/models/kimi-k2.6"] == 1
        await documents.ask(FILES[:1], "What?", model="kimi-k2.6", window=262_144)
        assert world.asked["/models/kimi-k2.6"] == 1
        with pytest.raises(DocumentsTooLongError):
            await documents.ask(FILES[:1], "What?", model="kimi-k2.6", window=1030)
        # A host that knows no models, or not their windows, says itself what does not fit.
        world.fake.fail(404, path="/models*", times=2)
        await documents.ask(FILES[:1], "What?", model="kimi-k2.6")


@pytest.mark.parametrize(
    ("question", "options", "problem"),
    [
        (" ", {}, "question is empty"),
        ([], {}, "question is empty"),
        (b"What?", {}, "text or a list of parts"),
        (5, {}, "text or a list of parts"),
        ("What?", {"stream": True}, r"takes no stream: documents\.messages"),
        ("What?", {"messages": []}, "takes no messages"),
        ("What?", {"temprature": 1}, "unexpected keyword argument 'temprature'"),
        ("What?", {"errors": "ignore"}, "'return' or 'raise'"),
        ("What?", {"timeout": -1}, "positive number"),
        ("What?", {"window": 0}, "window must be a number of tokens"),
        ("What?", {"window": True}, "window must be a number of tokens"),
        ("What?", {"window": "8k"}, "window must be a number of tokens"),
        ("What?", {"progress": 5}, "progress must be a function"),
    ],
)
async def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    question: Any, options: Any, problem: str, world: World
) -> None:
    async with world.client() as client:
        with pytest.raises((ConfigurationError, TypeError), match=problem):
            await Documents(client).ask(FILES, question, model="kimi-k2.6", **options)
    assert not world.asked


@pytest.mark.parametrize("errors", ["return", "raise"])
@pytest.mark.parametrize("kind", ["upload", "content", "ask"])
async def test_the_whole_of_it_ends_in_time(kind: str, errors: Any, world: World) -> None:
    world.before = Hold(kind)
    async with world.client() as client, Documents(client) as documents:
        with pytest.raises(APITimeoutError):
            await documents.ask(FILES[:2], "What?", model="kimi-k2.6", errors=errors, timeout=0.05)
        with client.deadline(0.05), pytest.raises(APITimeoutError):
            await documents.ask(FILES[:2], "What?", model="kimi-k2.6", errors=errors)
    assert await world.files() == []


async def test_nothing_shows_what_was_asked(world: World) -> None:
    world.fake.fail(500, path="/chat/completions")
    async with world.client() as client:
        with pytest.raises(InternalServerError):
            await Documents(client).ask(
                [("a.txt", CANARY_PROMPT.encode())], CANARY_PROMPT, system=CANARY_PROMPT, model="kimi-k2.6"
            )
