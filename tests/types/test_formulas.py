"""Formulas and fibers, as they are decoded."""

import json
import pickle
from typing import Any

import pytest

from moonshot_async import APIError, APIResponseValidationError
from moonshot_async.types.formulas import Fiber, decode_fiber, decode_formulas, decode_tools

SECRET = "----MOONSHOT ENCRYPTED BEGIN----x----MOONSHOT ENCRYPTED END----"


def fiber(status: str = "succeeded", error: Any = None, **context: Any) -> Fiber:
    answer = {
        "id": "fiber-9",
        "object": "fiber",
        "created_at": 1794200000,
        "lambda_id": "lambda-9",
        "status": status,
        "formula": "moonshot/web-search:latest",
        "organization_id": "org-1",
        "project_id": "proj-1",
        "context": {"input": "the prompt", **context},
    }
    return decode_fiber(json.dumps(answer | ({} if error is None else {"error": error})).encode())


@pytest.mark.parametrize(
    ("context", "result"),
    [
        ({"output": "plain"}, "plain"),
        ({"encrypted_output": SECRET}, SECRET),
        ({"output": "", "encrypted_output": SECRET}, ""),
        ({"output": {"rows": [1]}}, '{"rows":[1]}'),
        ({}, ""),
    ],
)
def test_the_result_is_the_output_verbatim(context: dict[str, Any], result: str) -> None:
    done = fiber(**context)

    assert done.succeeded
    assert done.result == result
    assert done.failure is None
    assert done.model_extra == {}


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        (fiber("failed", error="no such page"), "no such page"),
        (fiber("failed", error={"message": "timed out", "type": "t"}), "timed out"),
        (fiber("error", error={"kind": 1}), "{'kind': 1}"),
        (fiber("failed"), "the execution ended as 'failed'"),
        (decode_fiber(b'{"status": "failed", "context": {"error": "inner"}}'), "inner"),
        (decode_fiber(b'{"status": "timeout"}'), "the execution ended as 'timeout'"),
    ],
)
def test_a_failed_execution_tells_why_and_has_no_result(failed: Fiber, why: str) -> None:
    assert not failed.succeeded
    assert failed.failure == why
    with pytest.raises(APIError, match="failed: ") as caught:
        _ = failed.result
    assert caught.value.message.endswith(f"failed: {why}")


def test_a_failed_execution_with_unknown_fields_keeps_them_and_its_error() -> None:
    failed = decode_fiber(b'{"status": "failed", "error": {"message": "no"}, "took": 3}')

    assert failed.failure == "no"
    assert failed.model_extra == {"took": 3}


def test_an_error_instead_of_an_execution_is_raised() -> None:
    with pytest.raises(APIError, match="no such thing"):
        decode_fiber(b'{"error": {"message": "no such thing"}}')
    with pytest.raises(APIResponseValidationError):
        decode_fiber(b"{}")


def test_neither_a_repr_nor_an_error_shows_the_input_or_the_account() -> None:
    failed = fiber("failed", error="no")

    with pytest.raises(APIError) as caught:
        _ = failed.result

    seen = repr(failed) + repr(caught.value.body) + str(pickle.dumps(caught.value))
    assert "the prompt" not in seen
    assert "org-1" not in seen
    assert "proj-1" not in seen
    assert caught.value.body == {"id": "fiber-9", "status": "failed", "error": "no"}
    assert repr(failed) == "Fiber(id='fiber-9', formula='moonshot/web-search:latest', status='failed')"


def test_the_tools_of_a_formula_are_plain_data() -> None:
    tool = {"type": "function", "function": {"name": "web_search", "parameters": {"type": "object"}, "x": None}}

    tools = decode_tools(json.dumps({"tools": [tool], "formula": "f"}).encode())

    assert tools.tools == [tool]
    assert list(tools) == [tool]
    assert len(tools) == 1


def test_formulas_are_a_page() -> None:
    page = decode_formulas(b'{"object": "list", "data": [{"uri": "moonshot/date:latest", "name": "date", "new": 1}]}')

    assert [formula.uri for formula in page] == ["moonshot/date:latest"]
    assert page.data[0].model_extra == {"new": 1}
