"""Results of web search and page fetch, as they are decoded."""

import json

import pytest

from moonshot_async import APIResponseValidationError
from moonshot_async.types.tools import SearchChunk, decode_page, decode_pro_search, decode_search

HIT = {
    "authority": 3,
    "date": "2026-11-01",
    "icon": "https://a.example/icon.png",
    "mime": "text/html",
    "site_name": "A",
    "snippet": "roofs",
    "title": "Roofs",
    "url": "https://a.example/roofs",
}


def test_every_documented_field_of_a_result_is_one() -> None:
    results = decode_search(json.dumps({"search_results": [{**HIT, "text": "all of it"}]}).encode())

    result = results.search_results[0]
    assert {name: value for name, value in result.to_dict().items() if value is not None} == {
        **HIT,
        "text": "all of it",
    }
    assert results.model_extra == result.model_extra == {}


def test_results_of_the_better_search_have_passages() -> None:
    hit = {**HIT, "chunks": [{"text": "grey roofs", "score": 0.75}, {"text": "more", "score": 1}]}

    results = decode_pro_search(json.dumps({"search_results": [hit]}).encode())

    assert results.search_results[0].chunks == [
        SearchChunk(text="grey roofs", score=0.75),
        SearchChunk(text="more", score=1.0),
    ]


def test_results_are_counted_and_iterated() -> None:
    data = json.dumps({"search_results": [HIT, HIT]}).encode()

    assert len(decode_search(data)) == len(decode_pro_search(data)) == 2
    assert [hit.title for hit in decode_search(data)] == [hit.title for hit in decode_pro_search(data)] == ["Roofs"] * 2


@pytest.mark.parametrize("authority", ["high", 3, 0.5, None])
def test_a_field_of_undocumented_form_is_taken_as_it_comes(authority: object) -> None:
    results = decode_search(json.dumps({"search_results": [{"authority": authority}], "took": 1}).encode())

    assert results.search_results[0].authority == authority


def test_a_page_has_its_text() -> None:
    page = decode_page(b'{"url": "https://a.example/", "markdown": "# A", "title": "A"}')

    assert (page.url, page.markdown, page.title) == ("https://a.example/", "# A", "A")


@pytest.mark.parametrize("decode", [decode_search, decode_pro_search, decode_page])
def test_an_answer_without_its_key_field_is_refused(decode: object) -> None:
    assert callable(decode)
    with pytest.raises(APIResponseValidationError):
        decode(b"{}")
