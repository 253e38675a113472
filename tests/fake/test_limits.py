import gc
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moonshot_async.catalog import CATALOG, Tier
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.limits import Limiter
from moonshot_async.fake.records import Clock
from moonshot_async.fake.rules import RefusedError

NOW = 1794200000.9
OPEN = Tier(9, 0, concurrency=100, rpm=1000, tpm=10**9)


def limited(clock: Any = lambda: NOW, **limits: Any) -> FakeMoonshot:
    given = {name: getattr(OPEN, name) for name in ("concurrency", "rpm", "tpm", "tpd")} | limits
    return FakeMoonshot(clock=clock, limits=Tier(9, 0, **given))


@pytest.fixture
def ask(send: Any) -> Any:
    """Ask a fake, read the answer, and return None or the message of the refusal."""

    async def ask(fake: FakeMoonshot, **payload: Any) -> str | None:
        response = await send(**{"max_completion_tokens": 100} | payload, to=fake)
        answer = json.loads(await response.read())
        if response.status == 200:
            return None
        assert (response.status, answer["error"]["type"]) == (429, "rate_limit_reached_error")
        return str(answer["error"]["message"])

    return ask


def seconds(message: str) -> int:
    match = re.search(r", please try again after (\d+) seconds$", message)
    assert match is not None, message
    return int(match[1])


async def test_without_a_tier_there_are_no_limits(fake: FakeMoonshot, ask: Any) -> None:
    assert {await ask(fake, max_completion_tokens=100_000) for _ in range(50)} == {None}


async def test_requests_a_minute_are_limited(ask: Any) -> None:
    fake = limited(rpm=3)

    answers = [await ask(fake) for _ in range(4)]

    assert answers[:3] == [None] * 3
    assert answers[3] == (
        "Your account org-fake<ak-fake> request reached organization max RPM: 3, please try again after 60 seconds"
    )


@pytest.mark.parametrize("elapsed", [0.0, 0.25, 1.0, 59.5, 59.999])
async def test_the_seconds_of_a_refusal_are_true(ask: Any, elapsed: float) -> None:
    fake = limited(rpm=1)
    await ask(fake)
    fake.advance(elapsed)
    wait = seconds(await ask(fake))

    fake.advance(wait - 1)
    if wait > 1:
        assert seconds(await ask(fake)) == 1
    fake.advance(1)

    assert await ask(fake) is None
    assert wait < 61 - elapsed


@given(
    start=st.floats(0, 2e9) | st.sampled_from([0.1, 0.3, 0.7]),
    pauses=st.lists(st.floats(0, 90) | st.sampled_from([0.1, 0.2, 5.9, 6.0, 20.8]), min_size=1, max_size=20),
    rpm=st.integers(1, 4),
    tokens=st.integers(1, 60),
)
@example(start=0.1, pauses=[20.8, 6.0], rpm=1, tokens=1)
def test_whoever_comes_back_after_the_seconds_is_let_in(
    start: float, pauses: list[float], rpm: int, tokens: int
) -> None:
    clock = Clock(lambda: start)
    limiter = Limiter(Tier(9, 0, concurrency=10**6, rpm=rpm, tpm=100), clock)
    for pause in pauses:
        clock.advance(pause)
        limits = {"RPM", "TPM"}
        while limits:
            try:
                limiter.admit(tokens, 0)
                break
            except RefusedError as refusal:
                # One limit may stand behind the other, but each for the time that it names.
                limits.remove("RPM" if "RPM" in refusal.message else "TPM")
                clock.advance(seconds(refusal.message))
        else:
            limiter.admit(tokens, 0)


async def test_the_window_rolls(ask: Any) -> None:
    fake = limited(rpm=2)

    assert await ask(fake) is None
    fake.advance(30)
    assert await ask(fake) is None
    assert seconds(await ask(fake)) == 30
    fake.advance(30)
    assert await ask(fake) is None
    assert seconds(await ask(fake)) == 30


async def test_a_refused_request_does_not_count(ask: Any, send: Any) -> None:
    fake = limited(rpm=1, tpm=1_000)

    assert (await send(model="gpt-9", to=fake)).status == 404
    assert "TPM" in str(await ask(fake, max_completion_tokens=2_000))
    assert await ask(fake) is None
    for _ in range(3):
        assert seconds(await ask(fake)) == 60


async def test_tokens_a_minute_are_reserved_at_admission(ask: Any) -> None:
    fake = limited(tpm=10_000)

    assert await ask(fake, max_completion_tokens=6_000) is None
    fake.advance(20)
    message = await ask(fake, max_tokens=None, max_completion_tokens=6_000)

    match = re.search(r"organization TPM rate limit, current: (\d+), limit: 10000, please", str(message))
    assert match is not None
    assert 12_000 < int(match[1]) < 12_200
    assert seconds(str(message)) == 40
    assert await ask(fake, max_completion_tokens=3_000) is None
    fake.advance(40)
    assert await ask(fake, max_completion_tokens=6_000) is None


async def test_a_large_request_waits_until_enough_others_have_left_the_minute(ask: Any) -> None:
    fake = limited(tpm=10_000)
    for _ in range(3):
        await ask(fake, max_completion_tokens=3_000)
        fake.advance(10)

    wait = seconds(str(await ask(fake, max_completion_tokens=5_000)))
    fake.advance(wait)

    assert wait == 40
    assert await ask(fake, max_completion_tokens=5_000) is None


async def test_the_default_of_the_model_is_reserved_where_none_is_given(ask: Any) -> None:
    fake = limited(tpm=CATALOG.models["kimi-k3"].default_output_tokens + 100)

    assert await ask(fake, max_completion_tokens=None) is None
    assert "TPM" in str(await ask(fake, max_completion_tokens=None))
    fake.advance(60)
    assert await ask(fake, max_completion_tokens=None, max_tokens=1000) is None
    assert "TPM" in str(await ask(fake, max_completion_tokens=None))


async def test_what_never_fits_is_told_no_time(ask: Any) -> None:
    fake = limited(tpm=10_000)

    message = await ask(fake, max_completion_tokens=20_000)

    assert re.search(r"TPM rate limit, current: \d+, limit: 10000$", str(message))


async def test_tokens_a_day_are_those_that_were_used(ask: Any) -> None:
    fake = limited(tpd=100)

    assert await ask(fake, max_completion_tokens=5_000) is None
    message = str(await ask(fake))
    assert re.search(r"organization TPD rate limit, current: \d+, limit: 100$", message)
    fake.advance(86_399)
    assert await ask(fake) == message
    fake.advance(1)
    assert await ask(fake) is None


async def test_requests_at_once_are_limited_until_their_bodies_end(send: Any, ask: Any) -> None:
    fake = limited(concurrency=2)
    first, second = await send(stream=True, to=fake), await send(model="kimi-k3", to=fake)

    assert await ask(fake) == (
        "Your account org-fake<ak-fake> request reached organization max concurrency: 2, "
        "please try again after 1 seconds"
    )
    while await first.body.read():
        pass
    assert await ask(fake) is None
    third = await send(stream=True, to=fake)
    assert "concurrency" in str(await ask(fake))
    third.close()
    third.close()
    assert await ask(fake) is None
    second.close()
    assert await ask(fake) is None


async def test_an_answer_that_breaks_off_is_over(send: Any, ask: Any) -> None:
    fake = limited(concurrency=1)
    fake.cut_stream(1)
    response = await send(stream=True, to=fake)

    with pytest.raises(ConnectionResetError):
        while await response.body.read():
            pass

    assert await ask(fake) is None


async def test_an_answer_that_nobody_closes_is_over_once_nobody_has_it(send: Any, ask: Any) -> None:
    fake = limited(concurrency=1)

    await send(stream=True, to=fake)
    gc.collect()

    assert await ask(fake) is None


async def test_a_request_that_came_to_nothing_is_over(send: Any, ask: Any) -> None:
    fake = limited(concurrency=1)
    many = {"type": "array", "minItems": 10**12, "items": {"type": "string"}}
    schema = {"type": "object", "properties": {"a": many}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "many", "schema": schema}}

    response = await send(response_format=form, to=fake)

    assert response.status == 400
    assert "the JSON schema cannot be used" in json.loads(await response.read())["error"]["message"]
    assert await ask(fake) is None


async def test_a_request_that_is_cancelled_before_its_answer_is_over(ask: Any) -> None:
    class CancelledInTheMiddle(BaseException):
        pass

    async def sleep(seconds: float) -> None:
        raise CancelledInTheMiddle

    fake = FakeMoonshot(limits=Tier(9, 0, concurrency=1, rpm=9, tpm=10**9), latency=1, sleep=sleep)

    # What is caught holds the answer by its traceback, so that nothing but closing it ends it.
    with pytest.raises(CancelledInTheMiddle) as caught:
        await ask(fake)
    fake.latency = 0

    assert await ask(fake) is None
    assert caught.tb is not None


async def test_all_keys_and_models_share_the_limits(send: Any) -> None:
    fake = limited(rpm=2)

    statuses = [
        (await send(model=model, headers={"Authorization": f"Bearer sk-{model}"}, to=fake)).status
        for model in ("kimi-k3", "kimi-k2.6", "kimi-k2.7-code")
    ]

    assert statuses == [200, 200, 429]


async def test_other_endpoints_are_not_limited(send: Any, ask: Any) -> None:
    fake = limited(rpm=1, concurrency=1)
    await ask(fake)

    for _ in range(5):
        assert (await send("GET", "/v1/models", to=fake)).status == 200


async def test_reset_relaxes_all_limits_and_old_answers_do_no_harm(send: Any, ask: Any) -> None:
    fake = limited(concurrency=1, rpm=1)
    old = await send(stream=True, to=fake)

    fake.reset()
    new = await send(stream=True, to=fake)
    old.close()

    assert "concurrency" in str(await ask(fake))
    new.close()


async def test_a_tier_of_the_catalog_is_a_limit(ask: Any) -> None:
    fake = FakeMoonshot(limits=CATALOG.tiers[0], clock=lambda: NOW)

    assert [await ask(fake) is None for _ in range(4)] == [True, True, True, False]
