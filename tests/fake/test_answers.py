import json
from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot, brain

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Look up the current temperature of a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "readClock", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}},
}


PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SEARCH = {"type": "builtin_function", "function": {"name": "$web_search"}}


def said(completion: Any) -> Any:
    return completion["choices"][0]["message"]


async def test_an_answer_has_the_documented_shape(ask: Any) -> None:
    completion = await ask("How far is the moon?", model="kimi-k3")

    message = completion["choices"][0].pop("message")
    usage = completion.pop("usage")
    assert completion == {
        "id": "chatcmpl-000000000001",
        "object": "chat.completion",
        "created": 1794200000,
        "model": "kimi-k3",
        "choices": [{"index": 0, "finish_reason": "stop"}],
    }
    assert set(message) == {"role", "content", "reasoning_content"}
    assert message["role"] == "assistant"
    assert "How far is the moon?" in message["content"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["cached_tokens"] == usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["prompt_tokens_details"]["cache_write_tokens"] == usage["prompt_tokens"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": brain.count_tokens(message["reasoning_content"])}


async def test_the_same_prompt_gets_the_same_answer_under_a_new_id(ask: Any) -> None:
    first, second = await ask("Hi"), await ask("Hi")

    assert said(first) == said(second)
    assert first["id"] != second["id"]


async def test_another_seed_model_or_conversation_gets_another_answer(ask: Any) -> None:
    system = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    answers = [
        await ask("Hi"),
        await ask("Hi", to=FakeMoonshot(seed=1)),
        await ask("Hi", model="kimi-k2.6"),
        await ask(messages=system),
    ]

    assert len({said(answer)["content"] for answer in answers}) == 4


async def test_parts_of_a_prompt_are_read_and_media_are_marked(ask: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}
    completion = await ask(messages=[{"role": "user", "content": [{"type": "text", "text": "Look:"}, image]}])

    assert "“Look: [image_url]”" in said(completion)["content"]


async def test_thinking_can_be_switched_off_where_the_model_allows_it(ask: Any) -> None:
    on = await ask(model="kimi-k2.6")
    enabled = await ask(model="kimi-k2.6", thinking={"type": "enabled"})
    off = await ask(model="kimi-k2.6", thinking={"type": "disabled"}, temperature=0.6)

    assert said(on)["reasoning_content"] == said(enabled)["reasoning_content"]
    assert "reasoning_content" not in said(off)
    assert "completion_tokens_details" not in off["usage"]
    assert off["usage"]["prompt_tokens_details"]["cache_write_tokens"] == 0


async def test_less_effort_means_less_reasoning(ask: Any) -> None:
    lengths = [
        len(
            said(await ask(model="kimi-k3", **({} if effort is None else {"reasoning_effort": effort})))[
                "reasoning_content"
            ]
        )
        for effort in ("low", "high", "max", None)
    ]

    assert lengths[0] < lengths[1] < lengths[2] == lengths[3]


async def test_the_effort_may_also_stand_in_a_thinking_object(ask: Any) -> None:
    plain = said(await ask(reasoning_effort="low"))["reasoning_content"]
    inside = said(await ask(thinking={"type": "enabled", "effort": "low"}))["reasoning_content"]
    both = said(await ask(thinking={"type": "enabled", "effort": "high"}, reasoning_effort="low"))["reasoning_content"]

    assert plain == inside == both


async def test_a_budget_cuts_the_reasoning_before_the_answer(ask: Any) -> None:
    whole = await ask("Hi")
    reasoning, total = (
        whole["usage"]["completion_tokens_details"]["reasoning_tokens"],
        whole["usage"]["completion_tokens"],
    )

    tiny = await ask("Hi", max_completion_tokens=3)
    middle = await ask("Hi", max_tokens=reasoning + 2)
    enough = await ask("Hi", max_completion_tokens=total, max_tokens=1)

    assert tiny["choices"][0]["finish_reason"] == "length"
    assert said(tiny)["content"] == ""
    assert said(whole)["reasoning_content"].startswith(said(tiny)["reasoning_content"])
    assert tiny["usage"]["completion_tokens"] == 3
    assert middle["choices"][0]["finish_reason"] == "length"
    assert said(middle)["reasoning_content"] == said(whole)["reasoning_content"]
    assert said(middle)["content"]
    assert said(whole)["content"].startswith(said(middle)["content"])
    assert said(enough) == said(whole)
    assert enough["choices"][0]["finish_reason"] == "stop"


async def test_a_budget_cuts_the_arguments_of_a_call(ask: Any) -> None:
    off = {"model": "kimi-k2.6", "thinking": {"type": "disabled"}, "tools": [WEATHER]}
    whole = said(await ask("Weather in Oslo?", **off))["tool_calls"][0]["function"]
    name = brain.count_tokens(whole["name"])

    cut = await ask("Weather in Oslo?", **off, max_tokens=name + 2)
    nothing = await ask("Weather in Oslo?", **off, max_tokens=name)

    arguments = said(cut)["tool_calls"][0]["function"]["arguments"]
    assert cut["choices"][0]["finish_reason"] == nothing["choices"][0]["finish_reason"] == "length"
    assert len(arguments) == 8
    assert whole["arguments"].startswith(arguments)
    assert "tool_calls" not in said(nothing)


async def test_a_stop_sequence_ends_the_text_and_is_left_out(ask: Any) -> None:
    text = said(await ask("Hi"))["content"]
    word = text.split()[3]

    for stop in (word, ["never said", text[text.index(word) :][:9], word]):
        completion = await ask("Hi", stop=stop)
        assert said(completion)["content"] == text[: text.index(word)]
        assert completion["choices"][0]["finish_reason"] == "stop"
    assert said(await ask("Hi", stop=["never said"]))["content"] == text


async def test_legacy_models_give_several_choices(ask: Any) -> None:
    completion = await ask(model="moonshot-v1-8k", n=3, to=FakeMoonshot(legacy_models=True))

    assert [choice["index"] for choice in completion["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in completion["choices"]}) == 3


async def test_what_was_sent_before_counts_as_cached(ask: Any) -> None:
    long = [{"role": "user", "content": "word " * 400}]
    first = await ask(messages=long)
    second = await ask(messages=[*long, said(first), {"role": "user", "content": "More!"}])
    short = await ask(messages=[{"role": "user", "content": "Hi"}, said(first), {"role": "user", "content": "More!"}])

    assert first["usage"]["cached_tokens"] == 0
    assert second["usage"]["cached_tokens"] == first["usage"]["prompt_tokens"]
    assert second["usage"]["prompt_tokens_details"]["cache_write_tokens"] > 0
    assert short["usage"]["cached_tokens"] == 0


async def test_a_prompt_that_shares_a_word_with_a_tool_calls_it(ask: Any) -> None:
    completion = await ask("What is the weather in Oslo today?", tools=[CLOCK, WEATHER])

    message = said(completion)
    assert completion["choices"][0]["finish_reason"] == "tool_calls"
    assert message["content"] == ""
    assert message["reasoning_content"]
    assert message["tool_calls"] == [
        {
            "id": "get_weather:0",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"Oslo","unit":"C"}'},
        }
    ]


async def test_a_prompt_that_fits_two_tools_calls_both(ask: Any) -> None:
    completion = await ask("weather and clock in Oslo", tools=[CLOCK, WEATHER])

    assert [call["id"] for call in said(completion)["tool_calls"]] == ["readClock:0", "get_weather:1"]


async def test_a_prompt_about_several_things_calls_a_tool_for_each(ask: Any) -> None:
    completion = await ask("What is the temperature and the weather, says the clock?", tools=[CLOCK, WEATHER, SEARCH])

    assert [call["id"] for call in said(completion)["tool_calls"]] == ["readClock:0", "get_weather:1"]


async def test_a_prompt_that_lists_names_calls_a_tool_once_for_each(ask: Any) -> None:
    two = said(await ask("Compare the weather in Oslo and New York", tools=[WEATHER]))["tool_calls"]
    three = said(await ask("weather in Oslo, Bergen, or Rome", tools=[WEATHER], tool_choice="required"))["tool_calls"]

    assert [json.loads(call["function"]["arguments"])["city"] for call in two] == ["Oslo", "New York"]
    assert [call["id"] for call in two] == ["get_weather:0", "get_weather:1"]
    assert [json.loads(call["function"]["arguments"])["city"] for call in three] == ["Oslo", "Bergen", "Rome"]


async def test_calls_that_would_say_the_same_are_made_once(ask: Any) -> None:
    tool = {"type": "function", "function": {"name": "ping", "parameters": {"type": "object"}}}

    completion = await ask("ping Oslo and Bergen", tools=[tool])

    assert len(said(completion)["tool_calls"]) == 1


async def test_a_description_counts_as_much_as_a_name(ask: Any) -> None:
    completion = await ask("How high is the temperature?", tools=[CLOCK, WEATHER])

    assert [call["id"] for call in said(completion)["tool_calls"]] == ["get_weather:0"]


@pytest.mark.parametrize(
    ("prompt", "more"),
    [
        ("Tell me a story", {"tools": [CLOCK, WEATHER]}),
        ("Weather in Oslo?", {"tools": [WEATHER], "tool_choice": "none"}),
        ("Weather in Oslo?", {"tools": []}),
        ("What can you get for me?", {"tools": [WEATHER]}),
    ],
)
async def test_no_tool_is_called_without_need(ask: Any, prompt: str, more: dict[str, Any]) -> None:
    completion = await ask(prompt, **more)

    assert "tool_calls" not in said(completion)
    assert completion["choices"][0]["finish_reason"] == "stop"


async def test_required_calls_the_tool_that_fits_or_else_the_first(ask: Any) -> None:
    fitting = await ask("clock", tools=[WEATHER, CLOCK], tool_choice="required")
    first = await ask("Hi", tools=[WEATHER, CLOCK], tool_choice="required")

    assert said(fitting)["tool_calls"][0]["function"]["name"] == "readClock"
    assert said(first)["tool_calls"][0]["function"]["name"] == "get_weather"


async def test_a_named_tool_is_called_where_the_model_does_not_think(ask: Any) -> None:
    completion = await ask(
        "Hi",
        model="kimi-k2.6",
        thinking={"type": "disabled"},
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "function", "function": {"name": "readClock"}},
    )

    assert [call["id"] for call in said(completion)["tool_calls"]] == ["readClock:0"]


async def test_tool_results_are_answered_in_text_and_later_calls_get_new_ids(ask: Any) -> None:
    question = {"role": "user", "content": "Weather in Oslo?"}
    called = said(await ask(messages=[question], tools=[WEATHER]))
    result = {"role": "tool", "tool_call_id": "get_weather:0", "content": "4 degrees"}
    named = {**result, "name": "get_weather", "content": "5 degrees"}

    answered = said(await ask(messages=[question, called, result, called, named], tools=[WEATHER]))
    assert answered["content"].startswith("get_weather answered: 5 degrees\n")
    answered = said(await ask(messages=[question, called, result], tools=[WEATHER]))
    again = said(
        await ask(
            messages=[question, called, result, answered, {"role": "user", "content": "Weather in Rome?"}],
            tools=[WEATHER],
        )
    )

    assert answered["content"].startswith("The tool answered: 4 degrees\n")
    assert [call["id"] for call in again["tool_calls"]] == ["get_weather:1"]


async def test_tools_may_be_loaded_by_a_system_message(ask: Any) -> None:
    completion = await ask(
        messages=[{"role": "system", "tools": [WEATHER]}, {"role": "user", "content": "Weather in Oslo?"}]
    )

    assert said(completion)["tool_calls"][0]["id"] == "get_weather:0"


@pytest.mark.parametrize("parameters", [{"parameters": {}}, {"parameters": {"type": "string"}, "strict": False}])
async def test_a_tool_without_an_object_for_parameters_gets_empty_arguments(
    ask: Any, parameters: dict[str, Any]
) -> None:
    tool = {"type": "function", "function": {"name": "ping", **parameters}}

    completion = await ask("ping", tools=[tool])

    assert said(completion)["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_the_builtin_web_search_is_called_with_its_own_type(ask: Any) -> None:
    completion = await ask("What is in the news?", tools=[SEARCH])

    (call,) = said(completion)["tool_calls"]
    assert (call["id"], call["type"]) == ("$web_search:0", "builtin_function")
    arguments = json.loads(call["function"]["arguments"])
    assert arguments["search_result"]["search_id"]
    assert arguments["usage"]["total_tokens"] > 1000


async def test_the_results_of_a_web_search_count_as_prompt_once_they_are_asked_for(ask: Any) -> None:
    question = {"role": "user", "content": "What is in the news?"}
    first = await ask(messages=[question], tools=[SEARCH])
    call = said(first)["tool_calls"][0]
    found = json.loads(call["function"]["arguments"])
    result = {"role": "tool", "tool_call_id": call["id"], "content": call["function"]["arguments"]}
    nothing = {**result, "content": "no results"}

    second = await ask(messages=[question, said(first), result], tools=[SEARCH])
    named = await ask(messages=[question, said(first), {**result, "name": "$web_search"}], tools=[SEARCH])
    without = await ask(messages=[question, said(first), nothing], tools=[SEARCH])

    grown = second["usage"]["prompt_tokens"] - without["usage"]["prompt_tokens"]
    assert found["usage"]["total_tokens"] <= grown <= found["usage"]["total_tokens"] + 30
    assert found["search_result"]["search_id"] in said(second)["content"]
    assert said(named)["content"] == said(second)["content"]
    assert "The tool answered: no results" in said(without)["content"]


async def test_a_json_object_is_what_json_mode_gives(ask: Any) -> None:
    content = said(await ask("Oslo, in JSON", response_format={"type": "json_object"}))["content"]

    assert json.loads(content)["keyword"] == "JSON"
    plain = said(await ask("Oslo, in JSON", response_format={"type": "text"}))["content"]
    assert json.loads(content)["answer"] == plain


async def test_a_schema_is_obeyed(ask: Any) -> None:
    described = {"name": "place", "strict": True, "schema": PLACE}

    completion = await ask("I live in Oslo", response_format={"type": "json_schema", "json_schema": described})

    assert said(completion)["content"] == '{"city":"Oslo"}'
    assert completion["usage"]["prompt_tokens"] > (await ask("I live in Oslo"))["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("prompt", "more"),
    [
        ("Hi", {}),
        ("你好，世界 🌍", {"model": "kimi-k2.6", "thinking": {"type": "disabled"}}),
        ("I live in Oslo", {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": PLACE}}}),
        ("Hi there, how are you?", {"stop": ["you"]}),
    ],
)
async def test_partial_mode_gives_exactly_the_rest_wherever_the_prefix_was_cut(
    ask: Any, prompt: str, more: dict[str, Any]
) -> None:
    question = {"role": "user", "content": prompt}
    whole = said(await ask(messages=[question], **more))

    for cut in range(1, len(whole["content"]) + 1):
        prefix = {**whole, "content": whole["content"][:cut], "partial": True}
        rest = said(await ask(messages=[question, prefix], **more))
        assert "reasoning_content" not in rest
        assert prefix["content"] + rest["content"] == whole["content"]


async def test_an_answer_that_is_cut_again_and_again_comes_together_in_the_end(ask: Any) -> None:
    question = {"role": "user", "content": "How far is the 月 from here?"}
    whole = said(await ask(messages=[question]))
    thought = text = ""

    for turn in range(100):
        prefix = {"role": "assistant", "content": text, "reasoning_content": thought, "partial": True}
        completion = await ask(messages=[question, prefix] if turn else [question], max_completion_tokens=7)
        thought += said(completion).get("reasoning_content", "")
        text += said(completion)["content"]
        if completion["choices"][0]["finish_reason"] == "stop":
            break

    assert turn > 5
    assert (thought, text) == (whole["reasoning_content"], whole["content"])


async def test_partial_mode_finishes_a_reasoning_that_was_cut(ask: Any) -> None:
    question = {"role": "user", "content": "Hi"}
    whole = said(await ask(messages=[question]))
    thought = whole["reasoning_content"]

    def prefix(text: str) -> dict[str, Any]:
        return {"role": "assistant", "content": "", "reasoning_content": text, "partial": True}

    begun = said(await ask(messages=[question, prefix(thought[:9])]))
    done = said(await ask(messages=[question, prefix(thought)]))
    other = said(await ask(messages=[question, prefix("Something else.")]))

    assert thought[:9] + begun["reasoning_content"] == thought
    assert begun["content"] == done["content"] == other["content"] == whole["content"]
    assert "reasoning_content" not in done
    assert "reasoning_content" not in other


async def test_partial_mode_goes_on_from_a_prefix_that_is_not_its_own(ask: Any) -> None:
    question = {"role": "user", "content": "Write a haiku about rain."}

    def prefix(content: str) -> dict[str, Any]:
        return {"role": "assistant", "content": content, "name": "Poet", "partial": True}

    bare = said(await ask(messages=[question, prefix("Grey roofs")]))["content"]
    spaced = said(await ask(messages=[question, prefix("Grey roofs ")]))["content"]
    named = said(await ask(messages=[question, prefix("")]))

    assert bare[0] == " "
    assert bare[1] != " "
    assert spaced[0] != " "
    assert named == said(await ask(messages=[question]))


async def test_partial_mode_may_still_call_a_tool_after_reasoning(ask: Any) -> None:
    question = {"role": "user", "content": "Weather in Oslo?"}
    prefix = {"role": "assistant", "reasoning_content": "I should", "partial": True}

    completion = await ask(messages=[question, prefix], tools=[WEATHER])

    assert said(completion)["tool_calls"]


async def test_a_text_that_was_begun_is_not_turned_into_a_call(ask: Any) -> None:
    question = {"role": "user", "content": "Weather in Oslo?"}
    prefix = {"role": "assistant", "content": "It is", "partial": True}

    completion = await ask(messages=[question, prefix], tools=[WEATHER])

    assert "tool_calls" not in said(completion)
