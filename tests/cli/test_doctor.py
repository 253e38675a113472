"""`moonshot doctor` names the fault, and says what to do."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot
from moonshot_async.cli.doctor.checks import (
    Answered,
    asked,
    check_access,
    check_clock,
    check_key,
    check_latency,
    check_limits,
    check_quota,
    check_region,
    place_of,
)
from moonshot_async.cli.doctor.findings import Finding, worst
from moonshot_async.cli.doctor.plan import examine, key_in
from moonshot_async.fake import FakeMoonshot
from moonshot_async.transports import AiohttpTransport, MemoryTransport
from moonshot_async.wire import Request, Response
from tests.cli.command_line import Service, moonshot_ended, offline, on_terminal
from tests.scripted import Peer, Start, answer

KEY = "sk-canary-0a1b2c3d4e5f6a7b"
NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
GOOD_KEY = Finding("key", "ok", "there is one")


def client_of_app(app: Any, **options: Any) -> AsyncMoonshot:
    options.setdefault("base_url", "https://api.moonshot.cn/v1")
    return AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), max_retries=0, **options)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


# --- the command


def test_all_is_well_offline() -> None:
    ended = offline("doctor", "--json")
    assert ended.code == 0
    assert ended.json["status"] == "ok"
    assert [check["check"] for check in ended.json["checks"]] == [
        *("key", "dns", "proxy", "tcp", "tls", "access", "region", "clock", "limits", "latency", "quota")
    ]


def test_all_is_well_over_http(service: Service) -> None:
    ended = service.asked("doctor", "--timeout", "20")
    assert ended.code == 0
    assert "✓  access   the service answers, and takes the key" in ended.out
    assert "✓  clock    as the service's" in ended.out
    assert KEY not in ended.out + ended.err


def test_no_key_is_named_and_what_needs_none_is_looked_at_all_the_same(service: Service) -> None:
    ended = moonshot_ended("doctor", "--json", "--base-url", service.url)
    assert ended.code == 1
    found = {check["check"]: check for check in ended.json["checks"]}
    assert found["key"]["status"] == "fail"
    assert found["key"]["found"] == "there is no API key"
    assert "MOONSHOT_API_KEY" in found["key"]["advice"]
    assert [found[name]["status"] for name in ("tcp", "access", "clock", "latency", "quota")] == [
        *("ok", "skip", "ok", "ok", "skip")
    ]
    assert all("authorization" not in request.headers for request in service.fake.requests)


def test_an_empty_account_is_named(service: Service) -> None:
    service.fake.account.cash = Decimal("-3.5")
    service.fake.account.vouchers = Decimal(0)
    ended = service.asked("doctor")
    assert ended.code == 1
    assert "✗  quota    the account is empty: $0.00 left, and $3.50 of debt" in ended.out
    assert "→ Top it up" in ended.out


def test_on_a_terminal_the_marks_have_colours(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONSHOT_API_KEY", KEY)
    shown = on_terminal("doctor", "--base-url", service.url, monkeypatch=monkeypatch)
    assert shown.code == 0
    assert "\x1b[32m✓" in shown.text


def test_a_key_that_cannot_be_one_is_named(service: Service) -> None:
    ended = service.asked("doctor", "--json", MOONSHOT_API_KEY="sk-key with words")
    assert ended.code == 1
    assert ended.json["checks"][0]["found"].startswith("MOONSHOT_API_KEY holds no key")
    assert "with words" not in ended.out


def test_all_commands_go_by_the_proxy_that_the_doctor_looks_at() -> None:
    settings = {"MOONSHOT_API_KEY": KEY, "https_proxy": "http://127.0.0.1:1"}
    ended = moonshot_ended("balance", "--base-url", "https://api.test/v1", **settings)
    assert ended.code == 1
    assert "no connection to 127.0.0.1:1" in ended.err
    ended = moonshot_ended("doctor", "--base-url", "https://api.test/v1", **settings)
    assert ended.code == 1
    assert "the proxy 127.0.0.1:1 (HTTPS_PROXY) cannot be used" in ended.out


# --- key


@pytest.mark.parametrize(
    ("key", "host", "status", "words"),
    [
        ("sk-" + "a" * 48, "api.moonshot.cn", "ok", "has one of 51 characters"),
        ("anything", "localhost", "ok", "has one of 8"),
        ("anything", "api.moonshot.ai", "warn", "does not begin with sk-"),
        ("sk-kimi-abc", "api.moonshot.ai", "fail", "is for Kimi Code"),
        ("'sk-abc'", "", "fail", "begins with a quotation mark"),
        (" ", "", "fail", "holds no key"),
        ("sk-ключ", "", "fail", "holds no key"),
    ],
)
def test_what_a_key_looks_like(key: str, host: str, status: str, words: str) -> None:
    finding = check_key({"MOONSHOT_API_KEY": "", "KIMI_API_KEY": key}, host=host)
    assert finding.status == status
    assert words in finding.found
    assert finding.found.startswith("KIMI_API_KEY")
    assert key.strip() == "" or key not in finding.found


def test_offline_needs_no_key() -> None:
    assert key_in({}, offline=True).status == "ok"
    assert key_in({}).status == "fail"


# --- access


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        ({"status": 401}, "fail", "does not take the key (401 invalid_authentication_error)"),
        ({"status": 403}, "fail", "allows it nothing (403"),
        ({"status": 403, "body": "Blocked"}, "fail", "this is not what the service answers (403)"),
        ({"status": 302}, "fail", "this is not what the service answers (302"),
        ({"status": 511, "body": "Log in"}, "fail", "this is not what the service answers (511)"),
        ({"status": 429}, "ok", "asks to wait"),
        ({"status": 429, "type": "exceeded_current_quota_error"}, "fail", "the account is empty"),
        ({"status": 503}, "fail", "the service is in trouble (503"),
        ({"status": 404, "body": "<html>"}, "fail", "this is not what the service answers (404)"),
    ],
)
async def test_answers_are_told_apart(failure: dict[str, Any], status: str, words: str) -> None:
    fake = FakeMoonshot()
    fake.fail(path="/models", **failure)
    async with client_of_app(fake) as client:
        finding = check_access(await asked(client))
    assert finding.status == status
    assert words in finding.found
    assert finding.status == "ok" or finding.advice or "empty" in words


async def test_no_answer_is_told_as_such() -> None:
    fake = FakeMoonshot()
    fake.disconnect(path="/models")
    async with client_of_app(fake) as client:
        answered = await asked(client)
    assert answered.headers is None
    assert "no answer: Connection error" in check_access(answered).found
    assert check_clock(answered).status == check_limits(answered).status == "skip"


async def test_something_else_than_models_is_an_answer() -> None:
    async def app(request: Request) -> Response:
        return Response(200, {"Content-Type": "text/html"}, b"<html>")

    async with client_of_app(app) as client:
        finding = check_access(await asked(client))
        assert check_clock(await asked(client)).status == "skip"
    assert finding.status == "fail"
    assert "whether a login page" in finding.advice


# --- region


@pytest.mark.parametrize(
    ("url", "here", "there", "status", "words"),
    [
        ("https://api.moonshot.cn/v1", 401, None, "fail", "the key is of the other region, intl"),
        ("https://api.moonshot.ai/v1", 401, None, "fail", "the key is of the other region, cn"),
        ("https://api.moonshot.cn/v1", 401, 429, "fail", "the key is of the other region, intl"),
        ("https://api.moonshot.cn/v1", 401, 401, "ok", "it is not the region"),
        ("https://api.moonshot.cn/v1", 401, 502, "warn", "could not be asked"),
        ("https://api.moonshot.cn/v1", 401, "cut", "warn", "could not be asked"),
        ("https://api.moonshot.cn/v1", 500, None, "skip", "was not said"),
        ("https://api.moonshot.cn/v1", None, 401, "ok", "the key is of this region"),
        ("https://proxy.test/v1", 401, None, "skip", "belongs to no region"),
    ],
)
async def test_the_other_region_is_asked(
    url: str, here: int | None, there: int | str | None, status: str, words: str
) -> None:
    asked_of: list[str] = []
    good = FakeMoonshot()

    async def app(request: Request) -> Response:
        asked_of.append(request.url)
        outcome = here if request.url.startswith(url) else there
        if outcome == "cut":
            raise ConnectionResetError
        return await good(request) if outcome is None else Response(int(str(outcome)), {}, b"{}")

    async with client_of_app(app, base_url=url) as client:
        finding = await check_region(await asked(client), client)
        assert client.base_url == url + "/"
    assert finding.status == status
    assert words in finding.found
    if status == "fail":
        assert f"--region {finding.details['region']}" in finding.advice


# --- clock


@pytest.mark.parametrize(
    ("off", "status", "words"),
    [
        (timedelta(seconds=3), "ok", "to some seconds"),
        (timedelta(seconds=-29), "ok", "to some seconds"),
        (timedelta(seconds=100), "warn", "this machine's clock is 100 seconds ahead"),
        (timedelta(minutes=-7), "fail", "this machine's clock is 7 minutes behind"),
        (timedelta(hours=5), "fail", "this machine's clock is 5 hours ahead"),
        (timedelta(days=-400), "fail", "this machine's clock is 400 days behind"),
    ],
)
def test_the_clock_is_compared(off: timedelta, status: str, words: str) -> None:
    answered = Answered("", None, {"date": format_datetime(NOW - off, usegmt=True)}, NOW, 0.1)
    finding = check_clock(answered)
    assert (finding.status, finding.found) == (status, pytest.approx(finding.found))
    assert words in finding.found
    assert ("NTP" in finding.advice) == (status != "ok")


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": ""}])
def test_an_answer_without_a_time_says_nothing_of_the_clock(headers: dict[str, str]) -> None:
    assert check_clock(Answered("", None, headers, NOW, 0.1)).status == "skip"


def test_a_time_without_a_zone_is_utc() -> None:
    assert check_clock(Answered("", None, {"date": "Mon, 23 Nov 2026 06:00:00 -0000"}, NOW, 0.1)).status == "ok"


# --- limits


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (
            {"message": "Your account reached organization max RPM: 3, please try again after 1 seconds"},
            "warn",
            "a limit of the account is reached: RPM 3 (that of tier 0)",
        ),
        ({"message": "max concurrency: 7"}, "warn", "a limit of the account is reached: concurrency 7"),
        ({"message": "slow down"}, "warn", "a limit of the account is reached"),
        ({"type": "engine_overloaded_error"}, "warn", "no capacity just now; it is not your limit"),
        ({"type": "exceeded_current_quota_error"}, "ok", "none is reached"),
        ({"status": 403, "headers": {"X-RateLimit-Limit": "10"}}, "ok", "x-ratelimit-limit: 10"),
        ({"status": 401}, "skip", "did not say"),
    ],
)
async def test_limits_are_told(failure: dict[str, Any], status: str, words: str) -> None:
    fake = FakeMoonshot()
    fake.fail(path="/models", **{"status": 429, **failure})
    async with client_of_app(fake) as client:
        finding = check_limits(await asked(client))
    assert (finding.status, finding.found) == (status, words) or words in finding.found


# --- latency


async def test_latency_is_that_of_several_calls() -> None:
    async with client_of_app(FakeMoonshot()) as client:
        finding = await check_latency(client, times=3)
    assert finding.status == "ok"
    assert finding.details["calls"] == finding.details["answered"] == 3


async def test_slow_and_lost_calls_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.cli.doctor.checks._SLOW", -1.0)
    fake = FakeMoonshot()
    async with client_of_app(fake) as client:
        assert (await check_latency(client, times=1)).status == "warn"
        fake.disconnect(path="/models")
        finding = await check_latency(client, times=3)
        assert finding.status == "warn"
        assert finding.found.startswith("1 of 3 calls failed; ")
        fake.disconnect(path="/models", times=None)
        assert (await check_latency(client, times=2)).status == "skip"


# --- quota


@pytest.mark.parametrize(
    ("cash", "vouchers", "status", "words"),
    [
        ("50", "0", "ok", "¥50.00 left"),
        ("2", "1", "warn", "¥3.00 left"),
        ("0", "0", "fail", "the account is empty: ¥0.00 left"),
        ("-1", "20", "ok", "¥20.00 left, and ¥1.00 of debt"),
    ],
)
async def test_the_balance_is_told(cash: str, vouchers: str, status: str, words: str) -> None:
    async with client_of_app(FakeMoonshot(balance=cash, vouchers=vouchers, currency="CNY")) as client:
        finding = await check_quota(client)
    assert (finding.status, finding.found) == (status, words)


@pytest.mark.parametrize(
    ("kind", "status"), [("exceeded_current_quota_error", "fail"), ("rate_limit_reached_error", "skip")]
)
async def test_a_balance_that_is_not_told(kind: str, status: str) -> None:
    fake = FakeMoonshot()
    fake.fail(429, type=kind, path="/users/me/balance")
    async with client_of_app(fake) as client:
        assert (await check_quota(client)).status == status


# --- all together


@pytest.fixture
async def shifted(scripted: Start) -> str:
    """A service whose clock is an hour late."""
    date = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True).encode()

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            body = json.dumps({"object": "list", "data": []}).encode()
            await peer.send(answer(body, headers=b"Content-Type: application/json\r\nDate: %s\r\n" % date))

    server = await scripted(play)
    return server.url


async def test_a_clock_that_is_off_is_named_beside_what_else_is_wrong(shifted: str, no_leaks: None) -> None:
    async with AsyncMoonshot(api_key=KEY, base_url=shifted, max_retries=0) as client:
        found = by_name(await examine(client, place_of(shifted), key=GOOD_KEY, timeout=5))
    assert found["clock"].status == "fail"
    assert "60 minutes ahead" in found["clock"].found
    assert found["tcp"].status == found["access"].status == "ok"
    # There is no balance where there are models.
    assert found["quota"].status == "skip"


async def test_a_name_that_is_not_found_is_named_and_the_rest_is_looked_at(no_leaks: None) -> None:
    def look_up(*args: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    url = "https://nowhere.invalid/v1"
    async with AsyncMoonshot(api_key=KEY, base_url=url, max_retries=0, timeout=5) as client:
        findings = await examine(client, place_of(url, proxies={}), key=GOOD_KEY, timeout=5, look_up=look_up)
    found = by_name(findings)
    assert found["dns"].status == "fail"
    assert found["dns"].found == "the name nowhere.invalid was not found: Name or service not known"
    assert "nslookup nowhere.invalid" in found["dns"].advice
    assert found["access"].status == "fail"
    assert {found[name].status for name in ("tcp", "tls", "clock", "limits", "latency", "quota", "region")} == {"skip"}
    assert worst(findings) == "fail"


async def test_a_key_of_the_other_region_is_named_over_http(no_leaks: None) -> None:
    here, there = FakeMoonshot(api_keys=["sk-other"]), FakeMoonshot(api_keys=[KEY])
    async with here.serve() as url, there.serve() as other:
        async with AsyncMoonshot(api_key=KEY, base_url=url, max_retries=0, transport=AiohttpTransport()) as client:
            place = place_of(url, proxies={})
            findings = await examine(client, place, key=GOOD_KEY, timeout=5, other=("intl", other))
        await asyncio.sleep(0)
    found = by_name(findings)
    assert found["access"].status == "fail"
    assert found["region"].found == "the key is of the other region, intl"
    assert found["clock"].status == found["latency"].status == "ok"


def test_the_worst_counts() -> None:
    def findings(*statuses: Any) -> list[Finding]:
        return [Finding("x", status, "") for status in statuses]

    assert worst(findings("ok", "skip")) == "ok"
    assert worst(findings("ok", "warn")) == "warn"
    assert worst(findings("warn", "fail")) == "fail"
