"""The vendor's OpenAPI file, walked: every operation has a typed method, every field its counterpart, and the fake's
answers and refusals are what the file says.

The file is not part of this project. It is found through the environment variable MOONSHOT_OPENAPI, or as
`api/openapi-*.json` in a directory beside the project; without it, only `openapi_additions` is walked.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Unpack, get_args, get_origin, get_overloads, get_type_hints, is_typeddict

import jsonschema
import msgspec
import pytest

from moonshot_async import APIError, AsyncMoonshot
from moonshot_async.fake import FakeMoonshot
from moonshot_async.transports import MemoryTransport
from moonshot_async.types.envelope import Envelope
from moonshot_async.types.model import Model
from moonshot_async.wire import Request, Response
from tests.openapi_additions import with_additions

ROOT = Path(__file__).parent.parent
KEY = "sk-openapi"
TEXT_TYPE, STREAM_TYPE = "text/plain", "text/event-stream"


class Method(NamedTuple):
    """The counterpart of an operation: where it is on `AsyncMoonshot`, and what it makes of the answer."""

    name: str
    enveloped: bool = False


METHODS = {
    "GET /v1/models": Method("models.list"),
    "GET /v1/users/me/balance": Method("users.balance", enveloped=True),
    "POST /v1/files": Method("files.create"),
    "GET /v1/files": Method("files.list"),
    "GET /v1/files/{file_id}": Method("files.retrieve"),
    "DELETE /v1/files/{file_id}": Method("files.delete"),
    "GET /v1/files/{file_id}/content": Method("files.content"),
    "POST /v1/chat/completions": Method("chat.completions.create"),
    "POST /v1/tokenizers/estimate-token-count": Method("tokenizers.estimate_token_count", enveloped=True),
    "POST /v1/batches": Method("batches.create"),
    "GET /v1/batches": Method("batches.list"),
    "GET /v1/batches/{batch_id}": Method("batches.retrieve"),
    "POST /v1/batches/{batch_id}/cancel": Method("batches.cancel"),
    "POST /v1/signatures/verify": Method("signatures.verify"),
    "POST /v1/tools/search": Method("tools.search"),
    "POST /v1/tools/search_pro": Method("tools.search_pro"),
    "POST /v1/tools/fetch": Method("tools.fetch"),
    "GET /v1/formulas": Method("formulas.list"),
    "GET /v1/formulas/{uri}/tools": Method("formulas.tools"),
    "POST /v1/formulas/{uri}/fibers": Method("formulas.fibers.create"),
}


def _published() -> dict[str, Any] | None:
    named = os.environ.get("MOONSHOT_OPENAPI")
    path = Path(named) if named else max(ROOT.glob("../*/api/openapi-*.json"), default=None)
    return None if path is None else json.loads(path.read_bytes())


SPEC = with_additions(_published())
OPERATIONS = {
    f"{verb.upper()} {path}": {"parameters": [], **operation}
    for path, verbs in SPEC["paths"].items()
    for verb, operation in verbs.items()
}


# What a schema says.


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a reference means."""
    while "$ref" in schema:
        schema = SPEC["components"]["schemas"][schema["$ref"].removeprefix("#/components/schemas/")]
    return schema


def variants(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of a schema, without `oneOf`, `anyOf`, `allOf` and references at the top of them."""
    schema = resolved(schema)
    if "allOf" in schema:
        wholes: list[Mapping[str, Any]] = [{}]
        for part in schema["allOf"]:
            wholes = [_both(whole, one) for whole in wholes for one in variants(part)]
        return wholes
    branches = schema.get("oneOf") or schema.get("anyOf")
    return [one for branch in branches for one in variants(branch)] if branches else [schema]


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        **one,
        **other,
        "properties": {**one.get("properties", {}), **other.get("properties", {})},
        "required": [*one.get("required", ()), *other.get("required", ())],
    }


class Fields(dict[str, Any]):
    """A sample of an object whose fields the schema names."""


def sample(schema: Mapping[str, Any], *, only_required: bool = False) -> Any:
    """A value that fits the first alternative of a schema, with every field that it names."""
    schema = variants(schema)[0]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object" if "properties" in schema:
            names = schema.get("required", ()) if only_required else schema["properties"]
            return Fields({name: sample(schema["properties"][name], only_required=only_required) for name in names})
        case "object":
            # It is a JSON schema, too, where that is what the object has to be.
            return {"type": "object"}
        case "array":
            return [sample(schema["items"], only_required=only_required)]
        case plain:
            return {"integer": 3, "number": 0.5, "boolean": True, "string": "text"}[plain]


def answer_schema(operation: str, kind: str = "application/json", status: str = "200") -> Mapping[str, Any] | None:
    content = OPERATIONS[operation]["responses"][status].get("content", {})
    return content[kind]["schema"] if kind in content else None


def request_schema(operation: str) -> Mapping[str, Any]:
    (content,) = OPERATIONS[operation].get("requestBody", {}).get("content", {"none": {"schema": {}}}).values()
    schema: Mapping[str, Any] = content["schema"]
    return schema


def problems(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """How a value breaks a schema."""
    whole = {**schema, "components": SPEC["components"]}
    errors = jsonschema.Draft202012Validator(whole).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in errors]


def undocumented(value: Any, schema: Mapping[str, Any], place: str = "$") -> list[str]:
    """The fields of a value that no alternative of the schema names."""
    options = variants(schema)
    if isinstance(value, list):
        items = [option["items"] for option in options if "items" in option]
        return [found for one in value for found in undocumented(one, {"anyOf": items}, f"{place}[]")] if items else []
    if not isinstance(value, dict) or not any("properties" in option for option in options):
        return []
    known: dict[str, list[Any]] = {}
    for option in options:
        for name, inner in option.get("properties", {}).items():
            known.setdefault(name, []).append(inner)
    found = [f"{place}.{name}" for name in value if name not in known]
    inside = (undocumented(value[name], {"anyOf": known[name]}, f"{place}.{name}") for name in value if name in known)
    return [*found, *(one for fields in inside for one in fields)]


# The methods of the client.


class Stub:
    """A service that gives every request the same answer, and keeps the requests."""

    def __init__(self, status: int = 200, body: bytes = b"{}", kind: str = "application/json") -> None:
        self.requests: list[Request] = []
        self._answer = status, [("Content-Type", kind)], body

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(*self._answer)


def client_of(app: Any) -> AsyncMoonshot:
    return AsyncMoonshot(api_key=KEY, base_url="http://service.test/v1", transport=MemoryTransport(app), max_retries=0)


def method_of(client: AsyncMoonshot, operation: str) -> Any:
    method: Any = client
    for name in METHODS[operation].name.split("."):
        method = getattr(method, name)
    return method


def keywords(operation: str) -> dict[str, Any]:
    """The keywords of a method with their types, those of `**params: Unpack[…]` included."""
    method = method_of(client_of(Stub()), operation)
    function = getattr(method, "__func__", method)
    known: dict[str, Any] = {}
    for signature in get_overloads(function) or [function]:
        for name, hint in get_type_hints(signature).items():
            known |= get_type_hints(get_args(hint)[0]) if get_origin(hint) is Unpack else {name: hint}
    return known


def arguments(operation: str, **fields: Any) -> dict[str, Any]:
    """What must be given to call the method of an operation, and `fields`."""
    needed = sample(request_schema(operation), only_required=True) if request_schema(operation) else {}
    path = {one["name"]: "some-id" for one in OPERATIONS[operation]["parameters"] if one["in"] == "path"}
    if "file" in needed:
        needed = {"file": ("a.txt", b"text"), "purpose": "file-extract"}
    return {**needed, **path, **fields}


async def sent(operation: str, **fields: Any) -> Request:
    """The request of a call with these fields."""
    stub = Stub(400)
    async with client_of(stub) as client:
        with pytest.raises(APIError):
            await method_of(client, operation)(**arguments(operation, **fields))
    return stub.requests[0]


def typed_fields(hint: Any) -> Iterator[tuple[str, Any]]:
    """The fields of all TypedDicts and structs that stand in a type."""
    if is_typeddict(hint) or (isinstance(hint, type) and issubclass(hint, msgspec.Struct)):
        yield from get_type_hints(hint).items()
    else:
        for inner in get_args(hint):
            yield from typed_fields(inner)


def untyped(schema: Mapping[str, Any], hint: Any, place: str) -> list[str]:
    """The fields within a request field that its type does not name."""
    missing: list[str] = []
    for option in variants(schema):
        if "items" in option:
            missing += untyped(option["items"], hint, f"{place}[]")
        known: dict[str, list[Any]] = {}
        for name, inner in typed_fields(hint):
            known.setdefault(name, []).append(inner)
        for name, inner_schema in option.get("properties", {}).items():
            if name not in known:
                missing.append(f"{place}.{name}")
            else:
                missing += untyped(inner_schema, tuple[tuple(known[name])], f"{place}.{name}")
    return missing


def unknown(sent: Any, got: Any, place: str = "$") -> list[str]:
    """The fields of an answer that what the client made of it does not declare."""
    if isinstance(sent, list):
        return [name for one, other in zip(sent, got, strict=True) for name in unknown(one, other, f"{place}[]")]
    if not isinstance(sent, Fields):
        return []
    if not isinstance(got, Model):
        return [f"{place} is no struct but {type(got).__name__}"]
    declared = {field.encode_name for field in msgspec.structs.fields(type(got))}
    missing = [f"{place}.{name}" for name in sent if name not in declared]
    inside = (unknown(sent[name], getattr(got, name), f"{place}.{name}") for name in sent if name in declared)
    return [*missing, *(name for names in inside for name in names)]


def each(names: str | tuple[str, ...], cases: Iterable[Any]) -> Any:
    """Run a test for each case; without any there is no test, where pytest would have one that is skipped."""
    listed = list(cases)
    return pytest.mark.parametrize(names, listed) if listed else lambda test: None


# The client has it all.

every_operation = each("operation", OPERATIONS)


@every_operation
def test_every_operation_has_a_method(operation: str) -> None:
    assert operation in METHODS, "no method is known for it: write one, and name it in METHODS"
    assert callable(method_of(client_of(Stub()), operation))


@every_operation
async def test_a_method_sends_to_its_operation(operation: str) -> None:
    verb, path = operation.split()
    request = await sent(operation)

    parameters = [one["name"] for one in OPERATIONS[operation]["parameters"] if one["in"] == "path"]
    assert (request.method, request.path) == (verb, path.format(**dict.fromkeys(parameters, "some-id")))


@every_operation
async def test_every_parameter_of_a_query_is_a_keyword(operation: str) -> None:
    for parameter in OPERATIONS[operation]["parameters"]:
        if parameter["in"] == "query":
            value = sample(parameter["schema"])
            assert parameter["name"] in keywords(operation)
            assert f"{parameter['name']}={value}" in (await sent(operation, **{parameter["name"]: value})).url


def _request_fields() -> Iterator[Any]:
    for operation in OPERATIONS:
        for number, variant in enumerate(variants(request_schema(operation))):
            for name, schema in variant.get("properties", {}).items():
                of = f" of variant {number}" if number else ""
                yield pytest.param(operation, name, schema, id=f"{operation}: {name}{of}")


@each(("operation", "name", "schema"), _request_fields())
async def test_every_field_of_a_request_is_a_typed_keyword(operation: str, name: str, schema: Any) -> None:
    assert name in keywords(operation)
    assert untyped(schema, keywords(operation)[name], name) == []
    if name == "file":
        request = await sent(operation)
        assert b'name="file"; filename="a.txt"' in request.body
    elif name == "purpose":
        assert b'name="purpose"\r\n\r\nfile-extract' in (await sent(operation)).body
    else:
        value = sample(schema)
        assert json.loads((await sent(operation, **{name: value})).body)[name] == value


@each("operation", [operation for operation in OPERATIONS if answer_schema(operation) is not None])
async def test_every_field_of_an_answer_is_a_field_of_a_struct(operation: str) -> None:
    schema = answer_schema(operation)
    assert schema is not None
    answer = sample(schema)
    if METHODS[operation].enveloped:
        # Any other code tells of a failure.
        answer["code"] = 0
    async with client_of(Stub(body=json.dumps(answer).encode())) as client:
        got = await method_of(client, operation)(**arguments(operation))

    if METHODS[operation].enveloped:
        declared = {field.name for field in msgspec.structs.fields(Envelope)}
        assert {name for name in answer if name != "data"} <= declared
        answer = answer["data"]
    assert isinstance(answer, Fields)
    assert unknown(answer, got) == []


@each("operation", [operation for operation in OPERATIONS if answer_schema(operation, STREAM_TYPE) is not None])
async def test_every_field_of_a_chunk_is_a_field_of_a_struct(operation: str) -> None:
    schema = answer_schema(operation, STREAM_TYPE)
    assert schema is not None
    chunk = sample(schema)
    body = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
    async with client_of(Stub(body=body, kind=STREAM_TYPE)) as client:
        stream = await method_of(client, operation)(**arguments(operation, stream=True))
        (got,) = [one async for one in stream]

    assert unknown(chunk, got) == []


# The fake does it all.

MESSAGES = [{"role": "user", "content": "What is the weather in Oslo?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHATS: Mapping[str, dict[str, Any]] = {
    "k3": {"model": "kimi-k3", "reasoning_effort": "low", "prompt_cache_options": {"mode": "implicit", "ttl": "1h"}},
    "k2.6": {"model": "kimi-k2.6", "thinking": {"type": "disabled"}, "max_completion_tokens": 5},
    "k2.7": {"model": "kimi-k2.7-code", "thinking": {"type": "enabled", "keep": "all"}, "stop": "."},
    "tools": {"model": "kimi-k3", "tools": [TOOL], "tool_choice": "required"},
    "schema": {
        "model": "kimi-k3",
        "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}},
    },
    "partial": {
        "model": "kimi-k3",
        "messages": [*MESSAGES, {"role": "assistant", "content": "It", "partial": True, "reasoning_content": "Well"}],
    },
    "logprobs": {"model": "kimi-k3", "logprobs": True, "top_logprobs": 2},
    "prediction": {"model": "kimi-k3", "prediction": {"type": "content", "content": "rain"}},
}


class Service:
    """A fake with some state, and the ids of it."""

    def __init__(self) -> None:
        self.fake = FakeMoonshot(clock=lambda: 1794200000.0)
        self.ids: dict[str, str] = {"uri": "moonshot/web-search:latest"}

    async def prepare(self) -> None:
        """Upload files, start a batch, and sign a request."""
        line = {"custom_id": "q", "method": "POST", "url": "/v1/chat/completions"}
        lines = json.dumps({**line, "body": {"model": "kimi-k2.6", "messages": MESSAGES}}).encode()
        self.ids["file_id"] = json.loads(await (await self.upload("notes.md", b"# Rain", "file-extract")).read())["id"]
        self.ids["input_file_id"] = json.loads(await (await self.upload("in.jsonl", lines, "batch")).read())["id"]
        made = await self.send("POST /v1/batches", GOOD["POST /v1/batches"](self))
        self.ids["batch_id"] = json.loads(await made.read())["id"]

    async def upload(self, name: str, content: bytes, purpose: str) -> Response:
        body = (
            (
                f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
                f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
            ).encode()
            + content
            + b"\r\n--b--\r\n"
        )
        return await self.send("POST /v1/files", body, kind="multipart/form-data; boundary=b")

    async def send(
        self,
        operation: str,
        body: Any = None,
        *,
        key: str | None = KEY,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        **ids: str,
    ) -> Response:
        verb, path = operation.split()
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **(headers or {}), "Content-Type": kind}
        url = "http://service.test" + path.format(**{**self.ids, **ids})
        return await self.fake(Request(verb, url, given, content))

    def path(self, operation: str) -> str:
        return operation.split()[1].format(**self.ids)


# The body of a request that is in order.
GOOD: Mapping[str, Callable[[Service], Any]] = {
    "POST /v1/chat/completions": lambda service: {"model": "kimi-k3", "messages": MESSAGES},
    "POST /v1/tokenizers/estimate-token-count": lambda service: {"model": "kimi-k3", "messages": MESSAGES},
    "POST /v1/batches": lambda service: {
        "input_file_id": service.ids["input_file_id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"job": "nightly"},
    },
    "POST /v1/signatures/verify": lambda service: {
        "nonce": "0b9f4c1e-6d0a-4b52-9f57-8d6b6c1f2a34",
        "timestamp": 1794200000000,
        "model": "kimi-k3",
        "signature": "reqsigv1_x",
    },
    "POST /v1/tools/search": lambda service: {"text_query": "rain", "limit": 2, "include_content": True},
    "POST /v1/tools/search_pro": lambda service: {
        "text_query": "rain",
        "sites": ["example.com"],
        "time_window": {"start": "2026", "end": "2026-11-01"},
    },
    "POST /v1/tools/fetch": lambda service: {"url": "https://example.com/rain"},
    "POST /v1/formulas/{uri}/fibers": lambda service: {"name": "web_search", "arguments": '{"query":"rain"}'},
}
# The body of a request that is not: a 400, unless another status is named.
BAD: Mapping[str, Any] = {
    "POST /v1/chat/completions": {"model": "kimi-k3", "messages": []},
    "POST /v1/tokenizers/estimate-token-count": {"model": "kimi-k3"},
    "POST /v1/batches": {"input_file_id": "x", "endpoint": "/v1/embeddings", "completion_window": "24h"},
    "POST /v1/signatures/verify": {"nonce": "x"},
    "POST /v1/tools/search": {"text_query": ""},
    "POST /v1/tools/search_pro": {"text_query": "rain", "sites": ["a", "b", "c", "d", "e", "f"]},
    "POST /v1/tools/fetch": {"url": "no address"},
    "POST /v1/formulas/{uri}/fibers": {"name": "web_search"},
    "POST /v1/tools/fetch 403": {"url": "http://127.0.0.1/"},
    "POST /v1/tools/fetch 404": {"url": "https://nothing.invalid/"},
}


@pytest.fixture
async def service() -> Service:
    service = Service()
    await service.prepare()
    return service


async def ask(service: Service, operation: str, **options: Any) -> Response:
    """Send a request that is in order."""
    if operation == "POST /v1/files":
        return await service.upload("more.md", b"# Snow", "file-extract")
    body = GOOD[operation](service) if operation in GOOD else None
    return await service.send(operation, body, **options)


def check(content: bytes, kind: str, operation: str, status: str) -> None:
    """Compare an answer with the schema that the file has for it."""
    documented = OPERATIONS[operation]["responses"][status].get("content", {})
    if not documented:
        assert content == b""
        return
    base = kind.partition(";")[0]
    assert base in documented
    schema = documented[base]["schema"]
    value = content.decode() if base == TEXT_TYPE else json.loads(content)
    assert problems(value, schema) == []
    assert undocumented(value, schema) == []


@each("operation", GOOD)
async def test_the_requests_of_these_tests_are_documented(service: Service, operation: str) -> None:
    if operation in OPERATIONS:
        schema = request_schema(operation)
        assert problems(GOOD[operation](service), schema) == []


@every_operation
async def test_the_fake_answers_as_documented(service: Service, operation: str) -> None:
    response = await ask(service, operation)
    content = await response.read()

    assert response.status == 200, content
    check(content, response.headers["content-type"], operation, "200")


def _refusals() -> Iterator[Any]:
    for operation, described in OPERATIONS.items():
        for status in described["responses"]:
            if status != "200":
                yield pytest.param(operation, int(status), id=f"{operation}: {status}")


@each(("operation", "status"), _refusals())
async def test_the_fake_refuses_as_documented(service: Service, operation: str, status: int) -> None:
    response = await refused(service, operation, status)
    content = await response.read()

    assert response.status == status, content
    check(content, response.headers.get("content-type", ""), operation, str(status))


async def refused(service: Service, operation: str, status: int) -> Response:
    """Bring a refusal about: by what is sent where the service looks at it, else by the script."""
    if status == 401:
        return (
            await ask(service, operation, key="no-key")
            if operation != "POST /v1/files"
            else await service.send(operation, b"", key=None)
        )
    if status == 404 and "{" in operation:
        return await ask(service, operation, file_id="nobody", batch_id="nobody", uri="moonshot/nothing:latest")
    if status == 400 and operation == "POST /v1/files":
        return await service.upload("a.md", b"# Rain", "no purpose")
    if status == 400 and operation.endswith("/cancel"):
        await service.send(operation)
        for _ in range(10):
            response = await service.send(operation)
            if response.status != 200:
                break
        return response
    bad = BAD.get(f"{operation} {status}") or (BAD[operation] if status == 400 else None)
    if bad is not None:
        return await service.send(operation, bad)
    service.fake.fail(status, path=service.path(operation))
    return await ask(service, operation)


BATCH = "GET /v1/batches/{batch_id}"


@each("cancelled", [False, True] if BATCH in OPERATIONS else ())
async def test_a_batch_is_as_documented_in_every_state(service: Service, cancelled: bool) -> None:
    if cancelled:
        await service.send("POST /v1/batches/{batch_id}/cancel")
    states = []
    for _ in range(40):
        response = await service.send(BATCH)
        content = await response.read()
        check(content, response.headers["content-type"], BATCH, "200")
        states.append(json.loads(content)["status"])
        service.fake.advance(0.1)

    expected = ["cancelling", "cancelled"] if cancelled else ["validating", "in_progress", "finalizing", "completed"]
    assert list(dict.fromkeys(states)) == expected


CHAT = "POST /v1/chat/completions"


@each("name", CHATS if CHAT in OPERATIONS else ())
async def test_the_fake_answers_every_kind_of_chat_as_documented(service: Service, name: str) -> None:
    body = {"messages": MESSAGES, **CHATS[name]}
    response = await service.send(CHAT, body)
    content = await response.read()

    assert problems(body, request_schema(CHAT)) == []
    assert response.status == 200, content
    check(content, response.headers["content-type"], CHAT, "200")


@each("name", CHATS if CHAT in OPERATIONS else ())
@each("include_usage", [False, True])
async def test_the_fake_streams_every_kind_of_chat_as_documented(
    service: Service, name: str, include_usage: bool
) -> None:
    options = {"stream": True, "stream_options": {"include_usage": include_usage}}
    response = await service.send(CHAT, {"messages": MESSAGES, **CHATS[name], **options})
    assert response.status == 200
    frames = [frame.removeprefix("data: ") for frame in (await response.read()).decode().split("\n\n") if frame]

    assert response.headers["content-type"] == STREAM_TYPE
    assert frames.pop() == "[DONE]"
    for frame in frames:
        check(frame.encode(), STREAM_TYPE, CHAT, "200")
