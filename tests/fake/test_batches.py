import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import anyio
import pytest

from moonshot_async.catalog import CATALOG
from moonshot_async.fake import BatchTimes, FakeMoonshot, jobs

KEY = {"Authorization": "Bearer sk-test"}
NOW = 1794200000.0
TIMES = BatchTimes(validating=10, in_progress=100, finalizing=20, cancelling=5)
WINDOW = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot(clock=lambda: NOW, batch_times=TIMES)


def line(custom_id: Any = "a", *, without: str = "", body: Any = None, **more: Any) -> dict[str, Any]:
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": f"Hello from {custom_id}!"}]} | (body or {})
    item = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body} | more
    return {name: value for name, value in item.items() if name != without}


class Api:
    """The endpoints that batches need."""

    def __init__(self, send: Any, fake: FakeMoonshot) -> None:
        self._send = send
        self._fake = fake

    async def upload(self, content: bytes, purpose: str = "batch", filename: str = "in.jsonl") -> str:
        fields = f'--XX\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
        head = f'--XX\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
        headers = KEY | {"Content-Type": "multipart/form-data; boundary=XX"}
        body = fields.encode() + head.encode() + content + b"\r\n--XX--"
        file = await self.call("POST", "/files", headers=headers, body=body)
        return str(file["id"])

    async def create(self, lines: Iterable[Any] | bytes, **more: Any) -> Any:
        """Upload an input file and start a batch."""
        content = lines if isinstance(lines, bytes) else b"".join(json.dumps(one).encode() + b"\n" for one in lines)
        return await self.call("POST", "/batches", {"input_file_id": await self.upload(content), **WINDOW, **more})

    async def after(self, seconds: float, id: str = "batch-000000000001") -> Any:
        """The batch, so much later."""
        self._fake.advance(seconds)
        return await self.call("GET", f"/batches/{id}")

    async def results(self, id: str) -> list[Any]:
        """The lines of a result file."""
        response = await self._send("GET", f"/v1/files/{id}/content", to=self._fake)
        return [json.loads(one) for one in (await response.read()).splitlines()]

    async def balance(self) -> Decimal:
        response = await self._send("GET", "/v1/users/me/balance", to=self._fake)
        answer = json.loads(await response.read(), parse_float=Decimal)
        return Decimal(answer["data"]["available_balance"])

    async def refused(self, *call: Any) -> tuple[int, str]:
        answer = await self.call(*call, status=None)
        return answer["status"], answer["error"]["message"]

    async def call(
        self,
        method: str,
        path: str,
        payload: Any = None,
        *,
        headers: dict[str, str] = KEY,
        body: bytes = b"",
        status: int | None = 200,
    ) -> Any:
        body = body if payload is None else json.dumps(payload).encode()
        response = await self._send(method, "/v1" + path, headers=headers, body=body, to=self._fake)
        content = await response.read()
        assert status in (None, response.status), content
        answer = json.loads(content)
        return answer if status else {"status": response.status, **answer}


@pytest.fixture
def api(send: Any, fake: FakeMoonshot) -> Api:
    return Api(send, fake)


async def test_a_batch_goes_through_its_states(api: Api) -> None:
    created = await api.create([line(str(number)) for number in range(10)], metadata={"job": "nightly"})

    assert created == {
        "id": "batch-000000000001",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-000000000001",
        "completion_window": "24h",
        "metadata": {"job": "nightly"},
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": NOW,
        "expires_at": NOW + 86400,
        "in_progress_at": None,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
    }
    assert await api.after(9.5) == created
    running = await api.after(0.5)
    assert running == created | {
        "status": "in_progress",
        "in_progress_at": NOW + 10,
        "request_counts": {"total": 10, "completed": 0, "failed": 0},
    }
    assert (await api.after(55))["request_counts"] == {"total": 10, "completed": 5, "failed": 0}
    finalizing = await api.after(45)
    assert (finalizing["status"], finalizing["finalizing_at"]) == ("finalizing", NOW + 110)
    assert finalizing["request_counts"] == {"total": 10, "completed": 10, "failed": 0}
    assert finalizing["output_file_id"] is None
    completed = await api.after(20)
    assert completed == finalizing | {
        "status": "completed",
        "completed_at": NOW + 130,
        "output_file_id": "file-000000000002",
    }
    assert await api.after(86400) == completed


async def test_states_hang_on_the_clock_and_not_on_who_looks_when(api: Api) -> None:
    await api.create([line("a")])

    completed = await api.after(1000)

    assert [completed[name] - NOW for name in ("in_progress_at", "finalizing_at", "completed_at")] == [10, 110, 130]


async def test_results_are_answers_of_the_chat_in_another_order(api: Api, send: Any, fake: FakeMoonshot) -> None:
    await api.create([line(str(number)) for number in range(5)])

    batch = await api.after(130)
    results = await api.results(batch["output_file_id"])

    assert [result["custom_id"] for result in results] == ["1", "3", "0", "2", "4"]
    asked = line("3")["body"]
    answer = json.loads(await (await send(**asked, to=fake)).read())
    result = results[1]
    assert (result["error"], result["response"]["status_code"]) == (None, 200)
    assert result["response"]["body"]["choices"] == answer["choices"]
    assert result["response"]["body"]["usage"] == answer["usage"]
    assert len({one["id"] for one in results} | {one["response"]["request_id"] for one in results}) == 10


async def test_requests_that_are_refused_are_in_the_error_file(api: Api) -> None:
    bad = line("bad", body={"messages": [{"role": "nobody", "content": "Hi"}]})
    missing = line(
        "missing", body={"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "ms://x"}]}]}
    )

    await api.create([line("good"), bad, missing])
    batch = await api.after(130)

    assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    assert [one["custom_id"] for one in await api.results(batch["output_file_id"])] == ["good"]
    failed = {one["custom_id"]: one for one in await api.results(batch["error_file_id"])}
    assert set(failed) == {"bad", "missing"}
    assert failed["bad"]["response"]["status_code"] == 400
    assert "invalid role" in failed["bad"]["error"]["message"]
    assert failed["bad"]["response"]["body"] == {"error": failed["bad"]["error"]}


async def test_a_batch_of_failures_alone_has_no_output(api: Api) -> None:
    await api.create([line(body={"messages": []})])

    batch = await api.after(130)

    assert (batch["status"], batch["output_file_id"]) == ("completed", None)
    assert len(await api.results(batch["error_file_id"])) == 1


async def test_a_prompt_may_refer_to_an_uploaded_image(api: Api) -> None:
    image = await api.upload(b"\x00", "image", "a.png")
    content = [{"type": "image_url", "image_url": {"url": f"ms://{image}"}}]

    await api.create([line(body={"messages": [{"role": "user", "content": content}]})])

    assert (await api.after(130))["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


async def test_result_files_are_listed_and_read_even_if_nobody_asked_for_the_batch(
    api: Api, fake: FakeMoonshot
) -> None:
    await api.create([line("a"), line("b", body={"messages": []})])
    fake.advance(130)

    listed = await api.call("GET", "/files?purpose=batch")

    assert [file["filename"] for file in listed["data"]] == [
        "batch-000000000001_error.jsonl",
        "batch-000000000001_output.jsonl",
        "in.jsonl",
    ]
    for file in listed["data"][:2]:
        assert file["bytes"] > 100
        assert len(await api.results(file["id"])) == 1
    assert (await api.call("GET", "/files/" + listed["data"][0]["id"]))["purpose"] == "batch"


async def test_the_input_may_be_deleted_once_the_batch_has_begun(api: Api) -> None:
    await api.create([line("a")])
    await api.call("DELETE", "/files/file-000000000001")

    assert (await api.after(130))["request_counts"]["completed"] == 1


@pytest.mark.parametrize(
    ("lines", "code", "param", "number"),
    [
        (b"{}\nnot json\n", "missing_field", "custom_id", 1),
        (b"not json", "invalid_json_line", None, 1),
        (b"\xff\n", "invalid_json_line", None, 1),
        (b"[1]\n", "invalid_json_line", None, 1),
        (b"\n\r\n", "empty_file", None, None),
        ([line(""), line("b")], "missing_field", "custom_id", 1),
        ([line(5)], "missing_field", "custom_id", 1),
        ([line("a"), line("a")], "duplicate_custom_id", "custom_id", 2),
        ([line(method="GET")], "invalid_method", "method", 1),
        ([line(without="method")], "invalid_method", "method", 1),
        ([line(url="/v1/embeddings")], "invalid_url", "url", 1),
        ([line(without="body")], "missing_field", "body", 1),
        ([line(without="body") | {"body": []}], "missing_field", "body", 1),
        ([line(body={"model": None})], "missing_field", "model", 1),
        ([line(body={"model": "gpt-9"})], "model_not_found", "model", 1),
        ([line(body={"model": "kimi-k3"})], "unsupported_model", "model", 1),
        ([line("a"), line("b", body={"model": "kimi-k2.7-code"})], "mismatched_model", "model", 2),
        ([line(body={"temperature": 1.0})], "invalid_parameter", "temperature", 1),
        ([line(body={"n": 1})], "invalid_parameter", "n", 1),
        ([line(body={"stream": True})], "invalid_parameter", "stream", 1),
    ],
)
async def test_a_bad_file_fails_the_batch(
    api: Api, lines: Any, code: str, param: str | None, number: int | None
) -> None:
    await api.create(lines)

    failed = await api.after(10)

    error = failed["errors"]["data"][0]
    assert (error["code"], error["param"], error["line"]) == (code, param, number)
    assert error["message"]
    assert (failed["status"], failed["failed_at"]) == ("failed", NOW + 10)
    assert (failed["in_progress_at"], failed["finalizing_at"], failed["completed_at"]) == (None, None, None)
    assert failed["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert await api.after(1000) == failed


async def test_blank_lines_and_streams_that_are_switched_off_are_no_faults(api: Api) -> None:
    one, two = json.dumps(line("a", body={"stream": False})).encode(), json.dumps(line("b")).encode()

    await api.create(b"\n" + one + b"\r\n\r\n" + two)

    assert (await api.after(130))["request_counts"] == {"total": 2, "completed": 2, "failed": 0}


async def test_only_the_first_errors_are_told(api: Api) -> None:
    await api.create(b"[]\n" * 1000)

    assert len((await api.after(10))["errors"]["data"]) == 50


async def test_a_batch_that_takes_too_long_expires_with_what_it_has(send: Any) -> None:
    fake = FakeMoonshot(clock=lambda: NOW, batch_times=BatchTimes(0, 86400, 0))
    api = Api(send, fake)
    await api.create([line(str(number)) for number in range(4)], completion_window="12h")

    running = await api.after(12 * 3600 - 1)
    expired = await api.after(1)

    assert (running["status"], running["request_counts"]["completed"]) == ("in_progress", 1)
    assert (expired["status"], expired["request_counts"]) == ("expired", {"total": 4, "completed": 2, "failed": 0})
    assert (expired["finalizing_at"], expired["completed_at"]) == (None, None)
    assert len(await api.results(expired["output_file_id"])) == 2
    assert await api.after(86400) == expired


async def test_a_batch_may_expire_before_anybody_looked_into_its_file(send: Any) -> None:
    fake = FakeMoonshot(clock=lambda: NOW, batch_times=BatchTimes(validating=1e6))
    api = Api(send, fake)
    await api.create(b"not json", completion_window="12h")

    expired = await api.after(12 * 3600)

    assert (expired["status"], expired["in_progress_at"]) == ("expired", None)
    assert expired["request_counts"] == {"total": 0, "completed": 0, "failed": 0}


async def test_a_cancelled_batch_keeps_what_it_has(api: Api) -> None:
    await api.create([line(str(number)) for number in range(4)])
    await api.after(60)

    cancelling = await api.call("POST", "/batches/batch-000000000001/cancel")
    cancelled = await api.after(5)

    assert (cancelling["status"], cancelling["cancelling_at"]) == ("cancelling", NOW + 60)
    assert (cancelling["cancelled_at"], cancelling["output_file_id"]) == (None, None)
    assert (cancelled["status"], cancelled["cancelled_at"]) == ("cancelled", NOW + 65)
    assert cancelled["request_counts"] == {"total": 4, "completed": 2, "failed": 0}
    assert (cancelled["finalizing_at"], cancelled["completed_at"]) == (None, None)
    assert len(await api.results(cancelled["output_file_id"])) == 2
    assert await api.after(1000) == cancelled


async def test_a_batch_may_be_cancelled_before_and_after_its_work(api: Api) -> None:
    early = await api.create([line("a")])
    late = await api.create([line("a")])
    await api.call("POST", f"/batches/{early['id']}/cancel")
    await api.after(115, late["id"])
    await api.call("POST", f"/batches/{late['id']}/cancel")

    early, late = await api.after(5, early["id"]), await api.after(0, late["id"])

    assert (early["status"], early["in_progress_at"], early["output_file_id"]) == ("cancelled", None, None)
    assert (late["status"], late["finalizing_at"], late["completed_at"]) == ("cancelled", NOW + 110, None)
    assert len(await api.results(late["output_file_id"])) == 1


@pytest.mark.parametrize(("seconds", "lines", "status"), [(130, [line()], "completed"), (10, b"x", "failed")])
async def test_a_batch_that_has_ended_cannot_be_cancelled(api: Api, seconds: float, lines: Any, status: str) -> None:
    await api.create(lines)
    await api.after(seconds)

    refused = await api.refused("POST", "/batches/batch-000000000001/cancel")

    assert refused == (400, f"Invalid request: a batch that is {status} cannot be cancelled")


async def test_a_batch_is_cancelled_once(api: Api) -> None:
    await api.create([line()])
    await api.call("POST", "/batches/batch-000000000001/cancel")

    assert (await api.refused("POST", "/batches/batch-000000000001/cancel"))[0] == 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_file_id": None}, "input_file_id is required and must be a string"),
        ({"input_file_id": "file-9"}, "the input file file-9 is not found"),
        ({"endpoint": ""}, "endpoint is required"),
        ({"endpoint": "/v1/embeddings"}, "endpoint must be /v1/chat/completions"),
        ({"completion_window": 24}, "completion_window is required and must be a string"),
        ({"completion_window": "11h"}, "completion_window must be between 12h and 7d"),
        ({"completion_window": "8d"}, "completion_window must be between 12h and 7d"),
        ({"completion_window": "1w"}, "completion_window must be between 12h and 7d"),
        ({"completion_window": "24"}, "completion_window must be between 12h and 7d"),
        ({"metadata": ["a"]}, "metadata must be an object of strings"),
        ({"metadata": {"a": 1}}, "metadata must be an object of strings"),
        ({"metadata": {str(n): "" for n in range(17)}}, "at most 16 pairs"),
        ({"metadata": {"k" * 65: ""}}, "at most 64 characters"),
        ({"metadata": {"k": "v" * 513}}, "values 512"),
    ],
)
async def test_a_bad_request_creates_no_batch(api: Api, changes: Any, message: str) -> None:
    file = await api.upload(b"{}\n")

    status, said = await api.refused("POST", "/batches", {"input_file_id": file, **WINDOW, **changes})

    assert status == 400
    assert message in said
    assert (await api.call("GET", "/batches"))["data"] == []


async def test_a_file_for_another_purpose_is_no_input(api: Api) -> None:
    file = await api.upload(b"text", "file-extract", "a.txt")

    assert await api.refused("POST", "/batches", {"input_file_id": file, **WINDOW}) == (
        400,
        f"Invalid request: the purpose of the input file {file} must be batch, not file-extract",
    )


async def test_what_is_no_object_creates_no_batch(api: Api) -> None:
    assert await api.refused("POST", "/batches", []) == (400, "Invalid request: the body must be a JSON object")


@pytest.mark.parametrize("window", ["12h", "24h", "168h", "1d", "3d", "7d"])
async def test_windows_are_hours_or_days(api: Api, window: str) -> None:
    metadata = {"k" * 64: "v" * 512} | {str(n): "" for n in range(15)}

    batch = await api.create([line()], completion_window=window, metadata=metadata)

    hours = int(window[:-1]) * (24 if window[-1] == "d" else 1)
    assert batch["expires_at"] - batch["created_at"] == hours * 3600


async def test_batches_are_listed_newest_first_in_pages(api: Api) -> None:
    ids = [(await api.create([line()]))["id"] for _ in range(25)][::-1]

    first = await api.call("GET", "/batches")
    second = await api.call("GET", f"/batches?after={first['data'][-1]['id']}&limit=5")
    third = await api.call("GET", f"/batches?limit=100&after={second['data'][-1]['id']}")

    assert [batch["id"] for batch in first["data"]] == ids[:20]
    assert (first["object"], first["has_more"], second["has_more"]) == ("list", True, False)
    assert [batch["id"] for batch in second["data"]] == ids[20:]
    assert third == {"object": "list", "data": [], "has_more": False}
    for query in ("limit=0", "limit=101", "limit=x", "after=batch-9"):
        assert (await api.refused("GET", "/batches?" + query))[0] == 400


async def test_an_unknown_batch_is_a_404(api: Api) -> None:
    for method, path in (("GET", ""), ("POST", "/cancel")):
        answer = await api.call(method, f"/batches/batch-9{path}", status=None)
        assert (answer["status"], answer["error"]["type"]) == (404, "resource_not_found_error")


async def test_a_batch_costs_less_as_it_goes_on(api: Api, fake: FakeMoonshot) -> None:
    opening = await api.balance()
    await api.create([line(str(number)) for number in range(4)])
    fake.advance(60)
    half = await api.balance()
    batch = await api.after(70)
    spent = opening - await api.balance()

    usages = [one["response"]["body"]["usage"] for one in await api.results(batch["output_file_id"])]
    price = CATALOG.models["kimi-k2.6"].price_usd
    assert price is not None
    names = ("prompt_tokens", "completion_tokens")
    assert spent == sum(price.cost(**{name: usage[name] for name in names}, batch=True) for usage in usages)
    assert Decimal(0) < opening - half < spent


async def test_a_search_in_a_batch_has_its_fee(api: Api) -> None:
    opening = await api.balance()
    tools = [{"type": "builtin_function", "function": {"name": "$web_search"}}]
    messages = [{"role": "user", "content": "Search the news of today"}]
    await api.create([line(body={"tools": tools, "messages": messages})])

    await api.after(130)

    assert opening - await api.balance() > Decimal("0.005")


async def test_an_empty_account_creates_no_batch(api: Api, fake: FakeMoonshot) -> None:
    fake.account.cash = Decimal(0)

    file = await api.upload(b"{}\n")
    answer = await api.call("POST", "/batches", {"input_file_id": file, **WINDOW}, status=None)

    assert (answer["status"], answer["error"]["type"]) == (429, "exceeded_current_quota_error")


async def test_reset_forgets_batches(api: Api, fake: FakeMoonshot) -> None:
    await api.create([line()])

    fake.reset()

    assert (await api.call("GET", "/batches"))["data"] == []


async def test_unless_told_otherwise_a_batch_takes_about_two_seconds() -> None:
    times = BatchTimes()

    assert 1 <= times.validating + times.in_progress + times.finalizing <= 3


@pytest.mark.parametrize("count", [1, 60, 2000])
async def test_however_many_requests_all_are_answered(api: Api, count: int) -> None:
    await api.create([line(f"request {number}", extra="x" * 50) for number in range(count)])
    await api.after(77)

    batch = await api.after(60)

    assert batch["request_counts"] == {"total": count, "completed": count, "failed": 0}
    results = await api.results(batch["output_file_id"])
    assert sorted(one["custom_id"] for one in results) == sorted(f"request {number}" for number in range(count))


async def test_who_asks_while_a_batch_is_worked_on_waits_for_it(
    api: Api, fake: FakeMoonshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    step = jobs.Job.step

    def counted(job: jobs.Job, now: float) -> bool:
        nonlocal steps
        steps += 1
        return step(job, now)

    monkeypatch.setattr(jobs.Job, "step", counted)
    await api.create([line(str(number)) for number in range(1000)])
    fake.advance(130)
    answers: list[Any] = []

    async def ask(path: str) -> None:
        answers.append(await api.call("GET", path))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask, "/batches/batch-000000000001")

    assert [answer["request_counts"]["completed"] for answer in answers] == [1000] * 3
    assert len({answer["output_file_id"] for answer in answers}) == 1
    # One to read the input, four of 250 lines, and one for each who asked to see that nothing is left.
    assert steps <= 1 + 4 + 3


async def test_who_gives_up_waiting_loses_nothing(api: Api, fake: FakeMoonshot) -> None:
    await api.create([line(str(number)) for number in range(1000)])
    fake.advance(130)

    with anyio.move_on_after(0) as scope:
        await api.call("GET", "/batches/batch-000000000001")
    batch = await api.after(0)

    assert scope.cancelled_caught
    assert batch["request_counts"]["completed"] == 1000
    assert len({one["custom_id"] for one in await api.results(batch["output_file_id"])}) == 1000
