"""What a bulk run may spend is never overrun, whatever answers turn out to be, and however often it is started."""

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moonshot_async import AsyncMoonshot, ConfigurationError, MemoryTransport
from moonshot_async.bulk import BulkResult
from moonshot_async.errors import BudgetReachedError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request, Response
from tests.bulk.bulk_world import MODEL, World, ask, asks, rows, taken

pytestmark = pytest.mark.usefixtures("no_leaks")

JSON = {"Content-Type": "application/json"}


class Dear:
    """A service whose tokens are as many as they can be.

    Attributes:
        tokens: that it has billed.
    """

    def __init__(self) -> None:
        self.tokens = self.asked = 0
        self._draw = random.Random(5)

    async def __call__(self, request: Request) -> Response:
        asked = request.json()
        self.asked += 1
        # A token for each byte of text.
        prompt = sum(len(message["content"].encode()) for message in asked["messages"])
        answered = self._draw.choice([1, asked["max_completion_tokens"]])
        self.tokens += prompt + answered
        usage = {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}
        body = {"id": "c", "model": asked["model"], "choices": [choice], "usage": usage}
        return Response(200, JSON, msgspec.json.encode(body))


def odd(number: int) -> dict[str, Any]:
    """Texts that have many tokens for their length."""
    text = f"{number} " + "𓀀𓁐 ꧅ ﷽ x1" * (number % 40)
    return {"messages": [{"role": "user", "content": text}], "max_completion_tokens": 1 + number % 300}


async def test_a_budget_of_tokens_holds_for_many_calls_at_once_and_over_all_starts(journal: Path) -> None:
    service = Dear()
    async with AsyncMoonshot(api_key="sk-x", transport=MemoryTransport(service)) as client:
        for allowed in (50_000, 50_000, 120_000):
            run = client.bulk(map(odd, range(3000)), model=MODEL, journal=journal, max_tokens=allowed, concurrency=512)
            with pytest.raises(BudgetReachedError) as caught:
                await taken(run)
            assert run.progress.tokens == service.tokens == caught.value.spent
            assert 0.9 * allowed < service.tokens <= allowed
            assert run.reason == "the budget is reached"


async def test_a_budget_of_money_holds_for_many_calls_at_once_over_http(journal: Path) -> None:
    fake = FakeMoonshot(balance="1000", currency="USD", latency=0.01, max_recorded=1)
    async with fake.serve() as url, AsyncMoonshot(api_key="sk-x", base_url=url) as client:
        for allowed in (Decimal("0.1"), Decimal("0.14")):
            run = client.bulk(asks(1000), model=MODEL, journal=journal, max_cost=allowed, concurrency=512)
            with pytest.raises(BudgetReachedError):
                await taken(run)
            assert run.progress.cost == 1000 - fake.account.cash
            assert allowed * 9 / 10 < run.progress.cost <= allowed


async def test_what_may_be_billed_counts_in_the_next_start_too(world: World, journal: Path) -> None:
    answers = [
        Response(200, JSON, b"{}"),
        Response(200, JSON, b'{"id": "c", "model": "kimi-k2.6", "choices": [{"message": {"content": "x"}}]}'),
    ]

    async def before(number: int) -> Response | None:
        return answers.pop(0) if answers else None

    world.before = before
    client = world.client()
    results = await taken(client.bulk(asks(2), model=MODEL, journal=journal, max_cost="0.5", concurrency=1))
    assert [result.ok for result in results] == [False, True]
    assert results[1].cost is None
    ((tokens, cost),) = rows(journal, "SELECT lost_tokens, lost_cost FROM start")
    assert 2 * 400 < tokens < 2 * 550
    with pytest.raises(BudgetReachedError, match=rf"{tokens} tokens are spent \({tokens} of it perhaps"):
        await taken(client.bulk(asks(3), model=MODEL, journal=journal, max_tokens=tokens + 100))
    spent = Decimal(cost).scaleb(-12)
    with pytest.raises(BudgetReachedError) as caught:
        await taken(client.bulk(asks(3), model=MODEL, journal=journal, max_cost=spent + Decimal("0.00001")))
    assert caught.value.spent == spent


async def test_without_a_price_nothing_is_sent(world: World, journal: Path) -> None:
    client = world.client()
    with pytest.raises(ConfigurationError, match=r"price is known for the model 'mine'.*price_cny=Price"):
        client.bulk(asks(3), model="mine", journal=journal, max_cost=1)
    assert not journal.exists()
    requests = [{"model": "mine", **ask(1)}]
    with pytest.raises(ConfigurationError, match=r"request 1: max_cost: .* 'mine'"):
        await taken(client.bulk(requests, model=MODEL, journal=journal, max_cost=1))
    # One that came into the journal without a budget.
    run = client.bulk(requests, journal=journal)
    run.stop()
    async with run:
        pass
    assert not world.asked


async def test_an_answer_under_another_name_costs_what_was_asked_for(world: World, journal: Path) -> None:
    async def before(number: int) -> Response | None:
        usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
        body = {"id": "c", "model": "k2-inner-7", "choices": [{"message": {"content": "x"}}], "usage": usage}
        return Response(200, JSON, msgspec.json.encode(body))

    world.before = before
    client = world.client()
    (result,) = await taken(client.bulk([ask(1)], model=MODEL, journal=journal, max_cost=1))
    assert result.cost == client.catalog.cost(result.usage, MODEL, currency="cny")


async def test_an_item_of_the_journal_without_a_price_stops_a_run_with_a_budget(world: World, journal: Path) -> None:
    client = world.client()
    world.fake.fail(401, times=1)
    with pytest.raises(Exception, match="401"):
        await taken(client.bulk([{"model": "mine", **ask(1)}], journal=journal))
    with pytest.raises(ConfigurationError, match="'mine'"):
        await taken(client.bulk(None, journal=journal, max_cost=1))
    assert len(world.asked) == 1


async def test_results_say_why_their_answers_ended(world: World, journal: Path) -> None:
    results: list[BulkResult] = await taken(
        world.client().bulk(
            [{**ask(1), "max_completion_tokens": 2}, ask(2)], model=MODEL, journal=journal, ordered=True
        )
    )
    assert [(result.ok, result.finish_reason) for result in results] == [(True, "length"), (True, "stop")]
    world.fake.fail(400)
    (failed,) = await taken(world.client().bulk([ask(3)], model=MODEL, journal=journal))
    assert failed.finish_reason is None


@pytest.mark.usefixtures("quick")
async def test_a_refusal_costs_nothing(world: World, journal: Path) -> None:
    world.fake.fail(429, type="engine_overloaded_error", times=3)
    run = world.client().bulk(asks(4), model=MODEL, journal=journal, max_tokens=2000, concurrency=1)
    assert len(await taken(run)) == 4
    assert rows(journal, "SELECT lost_tokens FROM start") == [(0,)]
