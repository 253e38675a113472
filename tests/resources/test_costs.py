"""What answers cost."""

from decimal import Decimal
from typing import Any

import pytest

from moonshot_async.catalog import CATALOG
from moonshot_async.errors import ConfigurationError
from moonshot_async.resources.costs import completion_cost
from moonshot_async.types.chat import ChatCompletion

INTL = "https://api.moonshot.ai/v1"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cache_write_tokens": 1000}}


def completion(*calls: str, usage: Any = USAGE, model: str = "kimi-k3") -> ChatCompletion:
    tool_calls = [{"id": name, "function": {"name": name}} for name in calls] or None
    message = {"content": "Hi", "tool_calls": tool_calls}
    return ChatCompletion.model_validate({"model": model, "choices": [{"message": message}], "usage": usage})


def test_an_answer_costs_what_its_tokens_do_in_the_currency_of_its_host() -> None:
    assert completion_cost(completion(), CATALOG, INTL) == Decimal("0.003")
    assert completion_cost(completion(), CATALOG, "https://api.moonshot.cn/v1") == Decimal("0.02")
    assert completion_cost(completion(), CATALOG, INTL, batch=True, cache_ttl="1h") == Decimal("0.0036")


def test_searches_of_the_service_are_paid_beside_the_tokens() -> None:
    searched = completion("$web_search", "f", "$web_search")

    assert completion_cost(searched, CATALOG, INTL) == Decimal("0.013")


def test_an_answer_without_usage_or_price_has_no_cost() -> None:
    with pytest.raises(ConfigurationError, match="include_usage"):
        completion_cost(completion(usage=None), CATALOG, INTL)
    with pytest.raises(ConfigurationError, match=r"no USD price is known for the model 'gpt-9'"):
        completion_cost(completion(model="gpt-9"), CATALOG, INTL)
