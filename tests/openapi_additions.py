"""What the service has beside its published OpenAPI file: endpoints of its documentation, and fields that were seen.

The same form as that file, in our own words; `tests/test_openapi.py` lays it over the file.

See: https://platform.kimi.ai/docs/api/tools, https://platform.kimi.ai/docs/api/signatures-verify,
https://platform.kimi.ai/docs/guide/use-official-tools
"""

from collections.abc import Mapping
from typing import Any, Final

STRING: Final = {"type": "string"}
INTEGER: Final = {"type": "integer"}
NUMBER: Final = {"type": "number"}
BOOLEAN: Final = {"type": "boolean"}
# Of any form: nothing is said about what is in it.
OPEN: Final = {"type": "object", "additionalProperties": True}


def shape(required: str = "", /, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


def many(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def maybe(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


def strings(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), STRING)


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


_ERROR: Final = shape("error", error=shape("message type", message=STRING, type=STRING, code=STRING, param=STRING))
_BARE: Final = {"description": "without a body"}


def _operation(
    answer: Any, *, asks: Any = None, parameters: Any = (), bare: tuple[int, ...] = (), refusals: tuple[int, ...]
) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": _json(answer)}
    responses |= {str(status): _BARE if status in bare else _json(_ERROR) for status in refusals}
    body = {} if asks is None else {"requestBody": _json(asks)}
    return {"responses": responses, "parameters": list(parameters), **body}


_SEARCH: Final = {"text_query": STRING, "timeout_seconds": INTEGER, "limit": INTEGER, "include_content": BOOLEAN}
_HIT: Final = {**strings("title url site_name snippet date icon mime"), "authority": {}}
_URI: Final = {"name": "uri", "in": "path", "schema": STRING}
_FIBER: Final = shape(
    "id object status context",
    **strings("id object lambda_id status formula organization_id project_id"),
    created_at=INTEGER,
    error={},
    context=shape("", input={}, output={}, encrypted_output=STRING, error={}),
)
_TOOL_REFUSALS: Final = (400, 401, 403, 408, 429, 500, 502, 504)

_PATHS: Final = {
    "/v1/signatures/verify": {
        "post": _operation(
            shape("valid", valid=BOOLEAN),
            asks=shape(
                "nonce timestamp model signature", nonce=STRING, timestamp=INTEGER, model=STRING, signature=STRING
            ),
            refusals=(400, 401, 500),
        )
    },
    "/v1/tools/search": {
        "post": _operation(
            shape("search_results", search_results=many(shape("title url", **_HIT, text=STRING))),
            asks=shape("text_query", **_SEARCH),
            bare=(401, 403),
            refusals=_TOOL_REFUSALS,
        )
    },
    "/v1/tools/search_pro": {
        "post": _operation(
            shape(
                "search_results",
                search_results=many(shape("title url", **_HIT, chunks=many(shape("text", text=STRING, score=NUMBER)))),
            ),
            asks=shape("text_query", **_SEARCH, sites=many(STRING), time_window=shape("", start=STRING, end=STRING)),
            bare=(401, 403),
            refusals=_TOOL_REFUSALS,
        )
    },
    "/v1/tools/fetch": {
        "post": _operation(
            shape("url markdown title", **strings("url markdown title")),
            asks=shape("url", url=STRING),
            bare=(401,),
            refusals=(400, 401, 403, 404, 408, 429, 500, 502, 504),
        )
    },
    "/v1/formulas": {
        "get": _operation(
            shape(
                "object data",
                object=STRING,
                data=many(shape("uri", **strings("uri id name description object"))),
            ),
            refusals=(401, 500),
        )
    },
    "/v1/formulas/{uri}/tools": {
        "get": _operation(
            shape("tools", object=STRING, tools=many(OPEN)), parameters=[_URI], refusals=(401, 403, 404, 500)
        )
    },
    "/v1/formulas/{uri}/fibers": {
        "post": _operation(
            _FIBER,
            asks=shape("name arguments", name=STRING, arguments=STRING),
            parameters=[_URI],
            refusals=(400, 401, 403, 404, 500),
        )
    },
}

_USAGE: Final = {
    "prompt_tokens": INTEGER,
    "completion_tokens": INTEGER,
    "total_tokens": INTEGER,
    "cached_tokens": INTEGER,
    "prompt_tokens_details": shape("", cached_tokens=INTEGER, cache_write_tokens=INTEGER),
    "completion_tokens_details": shape("", reasoning_tokens=INTEGER),
}
_TOKEN: Final = {"token": STRING, "logprob": NUMBER, "bytes": maybe(many(INTEGER))}
_LOGPROBS: Final = maybe(
    shape("", content=maybe(many(shape("token logprob", **_TOKEN, top_logprobs=many(shape("", **_TOKEN))))))
)
_CALL_TYPE: Final = {"enum": ["function", "builtin_function"]}
_CALL: Final = shape(
    "id type function",
    id=STRING,
    type={**STRING, **_CALL_TYPE},
    function=shape("name arguments", name=STRING, arguments=STRING),
)
_CACHE_OPTIONS: Final = {
    "prompt_cache_options": shape("", mode={"enum": ["implicit"]}, ttl={"enum": ["5m", "1h"]}),
}
_TOOL: Final = {"$ref": "#/components/schemas/ToolDefinition"}

# Laid over schemas that the file has: mappings are joined, everything else is replaced.
_REFINED: Final = {
    "Message": {
        "properties": {
            "reasoning_content": maybe(STRING),
            "tool_calls": many(_CALL),
            "tool_call_id": STRING,
            "tools": many(_TOOL),
        },
        "required": ["role"],
    },
    "ChatRequestCommon": {"properties": _CACHE_OPTIONS},
    "ChatRequestBase": {"properties": _CACHE_OPTIONS},
    "ChatCompletionResponse": {
        "properties": {
            "choices": {
                "items": {
                    "properties": {
                        "logprobs": _LOGPROBS,
                        "message": {"properties": {"tool_calls": {"items": {"properties": {"type": _CALL_TYPE}}}}},
                    }
                }
            },
            "usage": {"properties": _USAGE},
        }
    },
    "ChatCompletionChunk": {"properties": {"usage": {"properties": _USAGE}}},
    "ChoiceDelta": {
        "properties": {
            "logprobs": _LOGPROBS,
            "usage": {"properties": _USAGE},
            "delta": {
                "properties": {
                    "reasoning_content": STRING,
                    "tool_calls": {"items": {"properties": {"index": INTEGER, "type": _CALL_TYPE}}},
                }
            },
        }
    },
    # Without it the clients that page by cursor would ask for ever.
    "FileListResponse": {"properties": {"has_more": BOOLEAN}},
    # Not there before the input file was read.
    "BatchObject": {
        "required": ["id", "object", "endpoint", "input_file_id", "completion_window", "status", "created_at"],
    },
    "ErrorResponse": {"properties": {"error": {"properties": {"param": STRING, "request_id": STRING}}}},
}


def with_additions(published: Mapping[str, Any] | None) -> dict[str, Any]:
    """The published file with everything above; what is above alone where there is no file."""
    if published is None:
        return {"paths": _PATHS, "components": {"schemas": {}}}
    return _joined(published, {"paths": _PATHS, "components": {"schemas": _REFINED}})


def _joined(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _joined(under[name], value)
        if isinstance(value, Mapping) and isinstance(under.get(name), Mapping)
        else value
        for name, value in over.items()
    }
    return {**under, **both}
