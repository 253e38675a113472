"""Types of chat completions, under the names of the openai package."""

from typing import TypeAlias

from moonshot_async.types import chat as _chat
from moonshot_async.types import chat_params as _chat_params
from moonshot_async.types.parsed import ParsedChatCompletion as ParsedChatCompletion
from moonshot_async.types.parsed import ParsedChatCompletionMessage as ParsedChatCompletionMessage
from moonshot_async.types.parsed import ParsedChoice as ParsedChoice
from moonshot_async.types.parsed import ParsedFunction as ParsedFunction
from moonshot_async.types.parsed import ParsedFunctionToolCall as ParsedFunctionToolCall

ChatCompletion: TypeAlias = _chat.ChatCompletion
ChatCompletionChunk: TypeAlias = _chat.ChatCompletionChunk
ChatCompletionMessage: TypeAlias = _chat.ChatCompletionMessage
ChatCompletionMessageFunctionToolCall: TypeAlias = _chat.ToolCall
ChatCompletionMessageToolCall: TypeAlias = _chat.ToolCall
ChatCompletionMessageToolCallUnion: TypeAlias = _chat.ToolCall
ChatCompletionTokenLogprob: TypeAlias = _chat.TokenLogprob
ChatCompletionMessageParam: TypeAlias = _chat_params.MessageParam
ChatCompletionAssistantMessageParam: TypeAlias = _chat_params.MessageParam
ChatCompletionDeveloperMessageParam: TypeAlias = _chat_params.MessageParam
ChatCompletionFunctionMessageParam: TypeAlias = _chat_params.MessageParam
ChatCompletionSystemMessageParam: TypeAlias = _chat_params.MessageParam
ChatCompletionToolMessageParam: TypeAlias = _chat_params.MessageParam
ChatCompletionUserMessageParam: TypeAlias = _chat_params.MessageParam
ChatCompletionContentPartImageParam: TypeAlias = _chat_params.ImagePart
ChatCompletionContentPartParam: TypeAlias = _chat_params.ContentPart
ChatCompletionContentPartTextParam: TypeAlias = _chat_params.TextPart
ChatCompletionFunctionTool: TypeAlias = _chat_params.ToolParam
ChatCompletionFunctionToolParam: TypeAlias = _chat_params.ToolParam
ChatCompletionMessageFunctionToolCallParam: TypeAlias = _chat_params.ToolCallParam
ChatCompletionMessageToolCallParam: TypeAlias = _chat_params.ToolCallParam
ChatCompletionMessageToolCallUnionParam: TypeAlias = _chat_params.ToolCallParam
ChatCompletionNamedToolChoiceParam: TypeAlias = _chat_params.NamedToolChoice
ChatCompletionPredictionContentParam: TypeAlias = _chat_params.Prediction
ChatCompletionReasoningEffort: TypeAlias = _chat_params.ReasoningEffort
ChatCompletionStreamOptionsParam: TypeAlias = _chat_params.StreamOptions
ChatCompletionToolChoiceOptionParam: TypeAlias = _chat_params.ToolChoice
ChatCompletionToolParam: TypeAlias = _chat_params.ToolParam
ChatCompletionToolUnionParam: TypeAlias = _chat_params.ToolParam
CompletionCreateParams: TypeAlias = _chat_params.CompletionParams
