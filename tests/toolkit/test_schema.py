"""Schemas before they are sent: what is wrong with one, and what is refused."""

import json
import pickle
from collections import UserDict
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.errors import BadRequestError, ConfigurationError, SchemaError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake import mfjs as service
from moonshot_async.mfjs import refusals
from moonshot_async.structured import function_tool
from moonshot_async.toolkit.schema import Finding, Level, Limits, check, lint

GOOD: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
BAD: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"minLength": 1}]}}}
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}
LEVELS: tuple[Level, ...] = ("loose", "lite", "service", "strict")


def holding(property: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": property}, **more}


def referring(definition: Any, **beside: Any) -> dict[str, Any]:
    return holding({"$ref": "#/$defs/B", **beside}, **{"$defs": {"B": definition}})


def codes(schema: Any, level: Level = "service", **limits: int) -> list[tuple[str, str]]:
    return [(finding.pointer, finding.code) for finding in lint(schema, level, limits=Limits(**limits))]


# --- What is right


@pytest.mark.parametrize(
    "schema",
    [
        {},
        GOOD,
        {"type": ["object"], "$id": "a", "title": "A", "description": "b", "$defs": {}},
        {"$id": None, "type": "string", "minLength": None, "pattern": "a"},
        holding({"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1}),
        holding({"type": ["string", "null"], "enum": ["a", None], "default": None, "description": "b"}),
        holding({"type": "boolean", "enum": [True]}),
        holding({"type": "null", "enum": [None]}),
        holding({"type": "number", "enum": [1, 2.5]}),
        holding({"type": "integer", "enum": [1, 2.0], "minimum": 1.0, "maximum": 3}),
        holding({"type": "object", "additionalProperties": {}}, additionalProperties=False),
        holding({"$ref": "#/$defs/B", "description": "b"}, **{"$defs": {"B": {"type": "string"}}}),
        holding({"$ref": "#/$defs/B/properties/c"}, **{"$defs": {"B": {"type": "object", "properties": {"c": GOOD}}}}),
        holding({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, required=["a"]),
        holding({"$ref": "#"}),
        {"type": "object", "properties": {"{id}": {"type": "array", "items": {"type": "string"}}}},
        {
            "type": "object",
            "properties": {"{id}": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": []}},
        },
        holding({"type": "string"}, required=[]),
        holding({"type": "string"}, **{"$defs": {"B": {"$ref": "#/$defs/C"}, "C": {"$ref": "#/$defs/B"}}}),
    ],
)
def test_nothing_is_wrong_with_the_dialect_at_any_level(schema: dict[str, Any]) -> None:
    assert [lint(schema, level) for level in LEVELS] == [[], [], [], []]


# --- What is wrong


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        (holding({"type": ["integer", "null"], "enum": [1, None]}), ("/properties/a/enum/1", "enum-value-mismatch")),
        (holding({"type": "string", "enum": [True]}), ("/properties/a/enum/0", "enum-value-mismatch")),
        (holding({"type": ["null", "null"], "enum": [None]}), ("/properties/a/type", "enum-types")),
        (holding({"type": []}), ("/properties/a/type", "type-invalid")),
        (holding({"type": None}), ("/properties/a/type", "type-invalid")),
        (holding({"type": [["string"]], "enum": ["a"]}), ("/properties/a/type", "type-invalid")),
        ({"type": "object", "properties": {"~/": {"type": 1}}}, ("/properties/~0~1/type", "type-invalid")),
        ({"type": "object", "properties": {"$ref": {"type": "null"}}}, ("/properties/$ref", "property-name-reserved")),
        (
            holding({"type": "object", "properties": {"{b}": {"type": "array", "items": {"$ref": "#/$defs/B"}}}})
            | {"$defs": {"B": GOOD}},
            ("/properties/a/properties/{b}", "property-name-braces"),
        ),
        (holding({"type": "null"}, **{"$defs": {"": GOOD}}), ("/$defs/", "definition-name-invalid")),
        (
            holding({"type": "null"}, **{"$defs": {"B": {"anyOf": [{"type": "string", "a/b": 1}]}}}),
            ("/$defs/B/anyOf/0/a~1b", "name-with-slash"),
        ),
        (holding({"type": ["string", "null"], "$id": "b"}), ("/properties/a/$id", "keyword-beside-types")),
        ({"type": "object", "description": "<" * 25_000}, ("", "schema-too-large")),
        (holding({"$ref": "#/$defs/"}), ("/properties/a/$ref", "ref-unresolved")),
        (holding({"$ref": "other.json"}), ("/properties/a/$ref", "ref-not-local")),
        (holding({"type": "object", "default": {"$ref": 1}}), ("/properties/a/default/$ref", "ref-not-a-text")),
        (
            holding({"type": "null", "not": {"anyOf": [{"if": {"$ref": "#"}}, 1]}}),
            ("/properties/a/not/anyOf0/if/$ref", "ref-misplaced"),
        ),
        (
            holding(
                {"type": "null", "not": {"anyOf": [{"$ref": "#"}], "$defs": {"a": {"$ref": 1}}, "a": {"$ref": "a"}}}
            ),
            ("/properties/a/not/a/$ref", "ref-not-local"),
        ),
        (
            referring({"anyOf": [{"type": "null", "maxLength": 1}]}, maxLength=1),
            ("/properties/a/maxLength", "ref-conflict"),
        ),
        (
            referring({"type": "string"}, anyOf=[{"type": "null"}]),
            ("/properties/a/anyOf", "ref-conflict"),
        ),
        (
            referring({"$ref": "#"}, properties={}),
            ("/properties/a/properties", "ref-conflict"),
        ),
        (
            holding({"type": "array", "items": {"$ref": "#"}}, required=["a"]),
            ("/properties/a/items/$ref", "endless-recursion"),
        ),
        ({"anyOf": [{"$ref": "#"}]}, ("/anyOf/0/$ref", "endless-recursion")),
        (
            referring({"anyOf": [{"$ref": "#/$defs/B"}, {"$ref": "#"}]}) | {"required": ["a"]},
            ("/properties/a/$ref", "endless-recursion"),
        ),
    ],
)
def test_a_fault_is_told_with_its_place(schema: dict[str, Any], found: tuple[str, str]) -> None:
    assert codes(schema) == [found]


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "string", "title": 1}, ("/title", "note-not-a-text")),
        ({"type": "array", "minItems": -1, "maxItems": True}, ("/minItems", "bound-invalid")),
        (holding({"anyOf": [GOOD | {"title": "a"}], "title": "b"}), ("/properties/a/anyOf/0/title", "branch-conflict")),
        (
            referring({"type": "null", "title": "b"}, title="a"),
            ("/properties/a/title", "ref-conflict"),
        ),
        (
            holding(
                {"$ref": "#/$defs/B"},
                **{
                    "$defs": {
                        "B": {"$ref": "#/$defs/C", "title": "b"},
                        "C": {"$ref": "#/$defs/D", "title": "c"},
                        "D": {"type": "null"},
                    }
                },
            ),
            ("/properties/a/$ref", "ref-conflict"),
        ),
        (
            referring({"$ref": "#/$defs/C", "minLength": 1})
            | {"$defs": {"B": {"$ref": "#/$defs/C", "minLength": 1}, "C": {"type": "string", "minLength": 2}}},
            ("/$defs/B/minLength", "ref-conflict"),
        ),
        ({"type": "array", "minItems": 1, "items": {"$ref": "#"}}, ("", "endless-recursion")),
        (
            holding({"$ref": "#"}, required=["a", "b"]) | {"properties": {"a": {"$ref": "#"}, "b": GOOD}},
            ("", "endless-recursion"),
        ),
    ],
)
def test_at_the_highest_level_more_is_a_fault(schema: dict[str, Any], found: tuple[str, str]) -> None:
    assert found in codes(schema, "strict")
    assert found not in codes(schema)


def test_levels_of_properties_count_through_references() -> None:
    chain: dict[str, Any] = {f"D{n}": holding({"$ref": f"#/$defs/D{n + 1}"}) for n in range(30)}
    root = holding({"$ref": "#/$defs/D0"}, **{"$defs": chain | {"D30": {"type": "null"}}})

    assert ("/properties/a/$ref", "schema-too-deep") in codes(root)
    assert codes(root, max_depth=31) == []
    assert codes(holding({"anyOf": [{"$ref": "#"}, {"type": "null"}]}), max_depth=1) == []


def test_definitions_that_all_refer_to_each_other_take_no_longer() -> None:
    every = {f"p{n}": {"$ref": f"#/$defs/D{n}"} for n in range(40)}
    schema = {"type": "object", "$defs": {f"D{n}": {"type": "object", "properties": every} for n in range(40)}}

    assert {code for _, code in codes(schema, max_properties=9999)} <= {"schema-too-deep"}


def test_the_order_of_definitions_does_not_matter_for_their_end() -> None:
    def chain(names: list[int]) -> dict[str, Any]:
        made = {f"D{n}": holding({"$ref": f"#/$defs/D{n + 1}"}, required=["a"]) for n in names}
        return holding({"$ref": "#/$defs/D0"}, required=["a"], **{"$defs": made | {"D20": {"type": "null"}}})

    assert codes(chain([*range(20)]), "strict") == codes(chain([*reversed(range(20))]), "strict") == []


def test_the_service_finds_references_outside_of_definitions_alone() -> None:
    named = {"type": "object", "properties": {"$ref": {"type": "null"}}}

    assert codes(named, "lite") == [("/properties/$ref", "property-name-reserved")]
    assert codes({"type": "object", "$defs": {"B": named}}, "lite") == []
    assert codes({"type": "object", "$defs": {"B": named}}) == [("/$defs/B/properties/$ref", "property-name-reserved")]
    assert codes({"type": "object", "$defs": {"B": {"type": "object", "default": {"$ref": 1}}}}, "lite") == []


def test_the_service_minds_a_description_beside_a_reference_to_one_that_has_its_own() -> None:
    described = referring({"type": "string", "description": "b"}, description="a")
    elsewhere = referring({"anyOf": [{"type": "string", "description": "b"}]}, description="a")

    found = [("/properties/a/description", "ref-conflict")]
    assert (codes(described, "lite"), codes(described, "service"), codes(described, "strict")) == ([], found, found)
    assert (codes(elsewhere, "service"), codes(elsewhere, "strict")) == ([], found)
    with pytest.raises(SchemaError, match="ref-conflict"):
        check(described)


def test_there_is_no_other_level() -> None:
    with pytest.raises(ValueError, match="level must be one of loose, lite, service, strict, not 'high'"):
        lint({}, "high")  # type: ignore[arg-type]


def test_a_finding_reads_as_a_sentence_and_is_a_value() -> None:
    (finding,) = lint({"type": "text"})

    assert str(finding).startswith("at /type: Name a type, or a list of types, out of string, ")
    assert str(finding).endswith(" (type-invalid)")
    assert finding in {Finding("/type", "type-invalid", finding.message, "lite")}
    assert str(lint(None)[0]).startswith("at the root: Give an object ")


# --- Anything at all


def test_what_is_no_json_is_told_at_every_level() -> None:
    shared: dict[str, Any] = {"type": "string"}
    for _ in range(40):
        shared = {"type": "object", "properties": {"a": shared, "b": shared}}
    odd: dict[str, Any] = {
        "type": "object",
        "properties": {1: {"type": "string"}, "a\ud800": {"default": float("inf"), "enum": [10**400, {1}, b"a"]}},
        "description": "\udfff",
    }

    for level in LEVELS:
        assert {code for _, code in codes(odd, level)} == {"not-json"}
        assert len(codes(odd, level)) == 6
        assert codes(UserDict(), level) == [("", "not-an-object")]
    assert codes(shared, "loose") == [("", "schema-too-large")]


def test_lists_may_be_tuples() -> None:
    assert codes({"type": ("string", "null"), "enum": ("a", None)}, "strict") == []


def test_no_schema_is_too_deep_to_be_told_so() -> None:
    def deepest(levels: int) -> Any:
        try:
            return deepest(levels + 1)
        except RecursionError:
            return levels

    def with_little_stack(levels: int, schema: Any) -> Any:
        return lint(schema) if levels == 0 else with_little_stack(levels - 1, schema)

    schema: dict[str, Any] = {"type": "string"}
    for _ in range(150):
        schema = {"type": "array", "items": schema}

    found = {finding.code for finding in with_little_stack(deepest(0) - 60, schema)}

    assert found == {"nested-too-deeply"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=1),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2) | st.integers() | st.none(), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "properties", "anyOf", "$ref", "enum", "$defs", "items"]), inner)
    ),
    max_leaves=20,
)


@given(anything, st.sampled_from(LEVELS))
def test_nothing_makes_it_raise(value: Any, level: Level) -> None:
    findings = lint(value, level)

    assert all(finding.level in LEVELS[: LEVELS.index(level) + 1] for finding in findings)
    assert {finding.code for finding in findings} <= {finding.code for finding in lint(value, "strict")}


# --- Beside the service

names = st.sampled_from(["a", "b", "anyOf", "required", "c/d", "", "{e}"])
bounds = st.fixed_dictionaries({}, optional={"minLength": st.integers(0, 2), "maximum": st.integers(0, 2)})
notes = st.fixed_dictionaries(
    {},
    optional={
        "title": st.just("t"),
        "description": st.just("d"),
        "default": st.sampled_from([1, "a", None, {"$ref": 1}, {"$ref": "#"}, {"items": {"$ref": "#"}}]),
    },
)
kinds = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
values = st.lists(st.sampled_from([None, True, 1, 1.5, "a", {}]), max_size=2)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    typed = st.fixed_dictionaries({"type": kinds | st.lists(kinds, max_size=3)}, optional={"enum": values})
    lists = st.fixed_dictionaries({"type": st.just("array")}, optional={"items": inner})
    records = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=2)},
        optional={"required": st.lists(names, max_size=2), "additionalProperties": inner | st.booleans()},
    )
    unions = st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=2)}, optional={"type": kinds})
    references = st.fixed_dictionaries(
        {"$ref": st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#/definitions/a"])}, optional={"type": kinds}
    )
    whole = typed | lists | records | unions | references
    return st.builds(lambda one, *more: {**one, **more[0], **more[1]}, whole, bounds, notes)


inner_schemas = schemas(schemas(st.just({"type": "string"})))


@given(inner_schemas, st.dictionaries(names, inner_schemas, max_size=2), inner_schemas, notes)
def test_what_is_refused_is_what_the_service_refuses(first: Any, definitions: Any, second: Any, said: Any) -> None:
    schema = {
        **said,
        "type": "object",
        "properties": {"a": first, "b": second},
        "required": ["a"],
        "$defs": definitions,
    }

    try:
        service.check(schema)
        taken = True
    except service.MFJSError:
        taken = False

    assert taken == (refusals(schema) == [])


# --- Refused before it is sent


def test_check_refuses_what_the_service_refuses() -> None:
    check(GOOD)
    check({})
    check(holding({}))  # some endpoints take it

    with pytest.raises(SchemaError, match=r"^My schema is not in Moonshot's dialect of JSON Schema") as caught:
        check(BAD, name="My schema")

    assert [finding.pointer for finding in caught.value.findings] == ["/properties/a/type"]
    assert isinstance(caught.value, ConfigurationError)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (twin.args, twin.findings) == (caught.value.args, caught.value.findings)


@pytest.mark.parametrize("schema", [{"type": "string"}, {"anyOf": [GOOD]}, {"type": ["object", "null"]}])
def test_check_refuses_a_root_that_is_no_object(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match=r"root-not-an-object"):
        check(schema)


def test_check_tells_the_first_fault_and_how_many_more() -> None:
    with pytest.raises(SchemaError, match=r"at /required/0: .* \(required-unknown\), and 1 more in \.findings\."):
        check({"type": "object", "required": ["a"], "$defs": []})


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
async def client(fake: FakeMoonshot) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(fake)) as client:
        yield client


def tool(parameters: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "weigh", "parameters": parameters, **more}}


def form(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tools": [tool(GOOD, strict=True), tool(BAD, strict=True)]}, r"^The schema of tools\[1\], 'weigh', is not in"),
    ({"tools": (tool(BAD, strict=True),)}, r"at /properties/a/type: Move `type` into each branch of `anyOf`\."),
    ({"tools": iter([tool(BAD, strict=True)])}, r"without `strict` it is sent as it is\.$"),
    ({"tools": [UserDict(tool(BAD, strict=True))]}, r"^The schema of tools\[0\], 'weigh', is not in"),
    (
        {"response_format": form(BAD, strict=True)},
        r"^The schema of response_format, 'answer', is not in Moonshot's dialect",
    ),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=["list", "tuple", "iterator", "mapping", "response_format"])
async def test_a_strict_schema_is_refused_before_it_is_sent(
    wrong: dict[str, Any], words: str, client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    with pytest.raises(SchemaError, match=words) as caught:
        await client.chat.completions.create(**ASK, **wrong)

    assert "Canary" not in str(caught.value)
    assert fake.requests == []


@pytest.mark.parametrize("call", ["parse", "stream"])
async def test_it_is_refused_in_every_call(call: str, client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    with pytest.raises(SchemaError):
        await getattr(client.chat.completions, call)(**ASK, tools=[tool(BAD, strict=True)])

    assert fake.requests == []


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [tool(BAD, strict=False)]},
        {"response_format": form(BAD, strict=False)},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]},
        {"tools": [tool(GOOD, strict=True)], "response_format": form(GOOD, strict=True)},
        {"tools": iter([tool(GOOD, strict=True)])},
        {"tools": None, "response_format": None},
        {"tools": [tool(GOOD, strict=True), tool(GOOD, name="other")], "response_format": None},
    ],
)
async def test_everything_else_is_sent(asked: dict[str, Any], client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    await client.chat.completions.create(**ASK, **asked)

    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "asked", [{"tools": [tool(BAD)]}, {"extra_body": {"tools": [tool(BAD, strict=True)]}}], ids=["unsaid", "extra_body"]
)
async def test_there_are_ways_to_let_the_service_judge(asked: Any, client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    with pytest.raises(BadRequestError, match="when using anyOf, type should be defined in anyOf items"):
        await client.chat.completions.create(**ASK, **asked)

    assert len(fake.requests) == 1


async def test_tools_that_can_be_looked_at_once_are_sent_whole(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    tools = [tool(GOOD, strict=True)]

    await client.chat.completions.create(**ASK, tools=iter(tools))

    assert json.loads(fake.last_request.body)["tools"] == tools


async def test_a_schema_is_looked_at_once(
    client: AsyncMoonshot, fake: FakeMoonshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    monkeypatch.setattr("moonshot_async.mfjs.sendable.refusals", lambda schema: looked.append(schema) or [])
    tools = [tool(GOOD | {"description": "Known by its bytes."}, strict=True)]

    for _ in range(3):
        await client.chat.completions.create(**ASK, tools=tools)
    tools[0]["function"]["parameters"]["description"] = "Not known any more."
    await client.chat.completions.create(**ASK, tools=tools)

    assert [schema["description"] for schema in looked] == ["Known by its bytes.", "Not known any more."]


async def test_large_schemas_are_looked_at_each_time_and_not_kept(
    client: AsyncMoonshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    monkeypatch.setattr("moonshot_async.mfjs.sendable.refusals", lambda schema: looked.append(schema) or [])
    tools = [tool(GOOD | {"description": 20_000 * "Much. "}, name=f"weigh_{n}", strict=True) for n in range(3)]

    for _ in range(2):
        with pytest.raises(BadRequestError):
            await client.chat.completions.create(**ASK, tools=tools)

    assert len(looked) == 6


class Weight(msgspec.Struct):
    grams: int
    parts: list["Weight"]


async def test_what_this_package_makes_is_never_refused(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply('{"grams": 1, "parts": []}')

    completion = await client.chat.completions.parse(**ASK, response_format=Weight, tools=[function_tool(Weight)])

    assert completion.choices[0].message.parsed == Weight(1, [])
