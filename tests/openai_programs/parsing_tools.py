# ruff: noqa: T201  # what it prints is what is compared
"""Tool calls whose arguments are parsed into pydantic models."""

import asyncio
from enum import StrEnum

import openai
from pydantic import BaseModel


class Table(StrEnum):
    orders = "orders"
    customers = "customers"


class Operator(StrEnum):
    eq = "="
    gt = ">"


class OrderBy(StrEnum):
    asc = "asc"
    desc = "desc"


class DynamicValue(BaseModel):
    column_name: str


class Condition(BaseModel):
    column: str
    operator: Operator
    value: str | int | DynamicValue


class Query(BaseModel):
    """Look up all that fits."""

    table_name: Table
    columns: list[str]
    conditions: list[Condition]
    order_by: OrderBy


client = openai.AsyncOpenAI()
ASK = {
    "model": "kimi-k2.6",
    "messages": [{"role": "user", "content": "look up all my orders in May of last year by a query"}],
}


async def main() -> None:
    tool = openai.pydantic_function_tool(Query)
    print(tool["type"], tool["function"]["name"], tool["function"]["strict"], tool["function"]["description"])
    completion = await client.chat.completions.parse(**ASK, tools=[tool])
    call = (completion.choices[0].message.tool_calls or [])[0]
    print(call.function.name, call.function.arguments)
    print(isinstance(call.function.parsed_arguments, Query))
    print(call.function.parsed_arguments.table_name)

    async with client.chat.completions.stream(**ASK, tools=[tool]) as stream:
        async for event in stream:
            if event.type == "tool_calls.function.arguments.done":
                print(event.name, event.parsed_arguments)

    loose = {"type": "function", "function": {"name": "query", "parameters": {"type": "object", "properties": {}}}}
    try:
        await client.chat.completions.parse(**ASK, tools=[loose])
    except ValueError as error:
        print(type(error).__name__)


asyncio.run(main())
