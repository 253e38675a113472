"""Types under the names of the openai package."""

from typing import Any, TypeAlias

from moonshot_async.compat.openai.types import chat as chat
from moonshot_async.types import batches as _batches
from moonshot_async.types import chat as _chat
from moonshot_async.types import chat_params as _chat_params
from moonshot_async.types import files as _files
from moonshot_async.types import models as _models

Batch: TypeAlias = _batches.Batch
BatchCreateParams: TypeAlias = _batches.BatchCreateParams
BatchError: TypeAlias = _batches.BatchError
BatchRequestCounts: TypeAlias = _batches.BatchRequestCounts
CompletionUsage: TypeAlias = _chat.Usage
FileDeleted: TypeAlias = _files.FileDeleted
FileObject: TypeAlias = _files.FileObject
FilePurpose: TypeAlias = _files.FilePurpose
FunctionDefinition: TypeAlias = _chat_params.FunctionDefinition
Model: TypeAlias = _models.ModelInfo
ReasoningEffort: TypeAlias = _chat_params.ReasoningEffort
ResponseFormatJSONObject: TypeAlias = _chat_params.JsonObjectFormat
ResponseFormatJSONSchema: TypeAlias = _chat_params.JsonSchemaFormat
ResponseFormatText: TypeAlias = _chat_params.TextFormat
ChatModel: TypeAlias = str
FunctionParameters: TypeAlias = dict[str, Any]
