"""`batch`."""

import json
from pathlib import Path

import pytest

from tests.cli.command_line import Service, offline, on_terminal

BODIES = '{"messages":[{"role":"user","content":"What is 1 + 1?"}]}\n\n{"messages":[{"role":"user","content":"No."}]}\n'
LINE = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"messages": [], "model": "kimi-k2.6"},
}
ENDED, RUNNING = "batch-000000000001", "batch-000000000002"


def test_requests_are_answered_in_their_order() -> None:
    ended = offline("batch", "run", "-", "--model", "kimi-k2.6", input=BODIES)
    assert ended.code == 0
    assert [line["custom_id"] for line in ended.lines] == ["request-1", "request-2"]
    assert all(line["response"]["body"]["choices"][0]["message"]["content"] for line in ended.lines)
    assert ended.err.splitlines() == [
        f"Batch {ENDED}; should this be interrupted: moonshot batch results {ENDED}",
        "2 answered, 0 failed.",
    ]


def test_lines_of_the_batch_api_are_taken_too_and_what_fails_is_told(tmp_path: Path) -> None:
    good = {**LINE, "custom_id": "b", "body": {"messages": [{"role": "user", "content": "Hi"}], "model": "kimi-k2.6"}}
    path = tmp_path / "asks.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{json.dumps(good)}\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    ended = offline("batch", "run", str(path), "--output", str(out))
    assert (ended.code, ended.out) == (3, "")
    failed, answered = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert (failed["custom_id"], failed["response"], failed["error"]["status"]) == ("a", None, 400)
    assert (answered["custom_id"], answered["error"]) == ("b", None)
    path.write_text(json.dumps(LINE), encoding="utf-8")
    assert offline("batch", "run", str(path)).code == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[]", "stdin, line 1 is no JSON object"),
        ("{", "stdin, line 1 is no JSON object"),
        ("\n" + "[" * 100_000, "stdin, line 2 is no JSON object"),
        ("{}", "request"),
    ],
    ids=["list", "cut", "deep", "empty"],
)
def test_what_is_no_request_is_wrong_usage(line: str, said: str) -> None:
    ended = offline("batch", "run", "-", "--model", "kimi-k2.6", input=line)
    assert (ended.code, ended.out, said in ended.err) == (2, "", True)


def test_a_batch_may_be_left_to_itself(service: Service) -> None:
    ended = service.asked("batch", "run", "-", "--model", "kimi-k2.6", "--no-wait", "--json", input=BODIES)
    batch_id = ended.json["id"]
    service.fake.advance(60)
    assert service.asked("batch", "status", batch_id).out.splitlines()[1].split() == ["status:", "completed"]
    results = service.asked("batch", "results", batch_id)
    assert [line["custom_id"] for line in results.lines] == ["request-1", "request-2"]


def test_a_batch_is_found_again(service: Service) -> None:
    for _ in range(2):
        ended = service.asked("batch", "run", "-", "--model", "kimi-k2.6", "--resume", "--no-wait", input=BODIES)
        assert ended.out.startswith(f"id:          {ENDED}\n")
    assert len(service.asked("batch", "list", "--json").json["batches"]) == 1


def test_batches_are_listed_newest_first() -> None:
    head, *rows = [line.split() for line in offline("batch", "list").out.splitlines()]
    assert head == ["ID", "STATUS", "DONE", "FAILED", "TOTAL", "CREATED", "MODEL"]
    assert [row[:2] for row in rows] == [[RUNNING, "validating"], [ENDED, "completed"]]
    assert len(offline("batch", "list", "--limit", "1", "--json").json["batches"]) == 1


def test_the_state_of_a_batch_is_shown() -> None:
    told = offline("batch", "status", ENDED).out
    assert "requests:    2 done, 0 failed, 2 in all\n" in told
    assert "completed:   2" in told
    assert offline("batch", "status", RUNNING).out.splitlines()[1] == "status:      validating"


def test_a_batch_is_cancelled() -> None:
    assert offline("batch", "cancel", RUNNING).out.splitlines()[1] == "status:      cancelling"
    ended = offline("batch", "cancel", ENDED)
    assert (ended.code, "cannot be cancelled" in ended.err) == (1, True)


def test_why_a_batch_failed_is_shown(service: Service) -> None:
    errors = '[{"line":3,"message":"bad"},{"message":"worse"}]'
    body = f'{{"id":"b","status":"failed","errors":{{"data":{errors}}}}}'
    service.fake.fail(200, body=body, path="/batches/b", times=2)
    assert service.asked("batch", "status", "b").out.splitlines()[-2:] == [
        "error:       line 3: bad",
        "error:       worse",
    ]
    assert "line 3: bad" in service.asked("batch", "results", "b").err


def test_how_far_a_batch_is_is_drawn_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    path = tmp_path / "asks.jsonl"
    path.write_text(BODIES, encoding="utf-8")
    monkeypatch.setattr("moonshot_async.cli.batch.runs._TICK", 0.01)
    arguments = ("batch", "run", str(path), "--model", "kimi-k2.6", "--offline")
    shown = on_terminal(*arguments, monkeypatch=monkeypatch, only="stderr")
    assert shown.code == 0
    assert "━" in shown.text
