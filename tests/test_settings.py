"""Where settings come from: arguments first, then the environment, then the region."""

import warnings
from collections.abc import Iterator

import pytest

from moonshot_async import ConfigurationError
from moonshot_async.settings import checked_key, chosen_url

VARIABLES = ("MOONSHOT_API_KEY", "KIMI_API_KEY", "MOONSHOT_BASE_URL", "KIMI_BASE_URL")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_anything_the_region_says_where() -> None:
    assert chosen_url(None, None) == chosen_url("", "cn") == "https://api.moonshot.cn/v1"
    assert chosen_url(None, "intl") == "https://api.moonshot.ai/v1"


def test_a_url_of_the_caller_goes_first(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MOONSHOT_BASE_URL", "https://env.example/v1")

    assert chosen_url("https://mine.example/v1/", "intl") == "https://mine.example/v1"


def test_of_the_environment_moonshot_goes_before_kimi(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KIMI_BASE_URL", "https://kimi.example/v1/")
    assert chosen_url(None, None) == "https://kimi.example/v1"

    environment.setenv("MOONSHOT_BASE_URL", "https://moonshot.example/v1")
    assert chosen_url(None, None) == "https://moonshot.example/v1"

    environment.setenv("MOONSHOT_BASE_URL", "")
    assert chosen_url(None, None) == "https://kimi.example/v1"


@pytest.mark.parametrize("name", ["MOONSHOT_BASE_URL", "KIMI_BASE_URL"])
def test_a_bad_url_in_the_environment_is_told_by_its_variable(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(name, "api.moonshot.ai")

    with pytest.raises(ConfigurationError, match=f"{name} must be an http"):
        chosen_url(None, None)


def test_a_region_that_does_not_exist_is_refused_beside_a_url_too() -> None:
    with pytest.raises(ConfigurationError, match="region must be 'cn' or 'intl'"):
        chosen_url("https://mine.example/v1", "us")


def test_a_region_against_the_environment_is_warned_of(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MOONSHOT_BASE_URL", "https://api.moonshot.cn/v1")

    with pytest.warns(UserWarning, match="region='intl' has no effect: the environment variable MOONSHOT_BASE_URL"):
        assert chosen_url(None, "intl") == "https://api.moonshot.cn/v1"


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://api.moonshot.ai/v1", None),
        ("https://api.moonshot.cn/v1", "cn"),
        ("https://api.moonshot.cn/v2", "cn"),
        ("https://proxy.example/v1", "intl"),
    ],
)
def test_nothing_is_warned_of_where_both_may_be_meant(
    url: str, region: str | None, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("MOONSHOT_BASE_URL", url)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen_url(None, region) == url


def test_of_the_keys_moonshot_goes_before_kimi(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KIMI_API_KEY", "sk-kimi")
    assert checked_key(None) == "sk-kimi"

    environment.setenv("MOONSHOT_API_KEY", "sk-moonshot")
    assert checked_key(None) == "sk-moonshot"
