"""Where spans of other instrumentations keep what they say: the attributes of the usual conventions.

Langfuse's own, OpenTelemetry's for generative AI, OpenInference's, Traceloop's, those of Pydantic AI, Logfire and MLflow, of
Google's agents and LiveKit's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._json import decode

SCOPE = "langfuse-sdk"
"""The instrumentation scope of the SDK's spans, and of ours: the server takes their attributes as they are."""

INPUT_KEYS = (
    "langfuse.observation.input",
    "input.value",
    "gen_ai.input.messages",
    "gen_ai.prompt",
    "traceloop.entity.input",
    "gen_ai.tool.call.arguments", "tool.parameters", "llm.prompts", "embedding.text", "reranker.query",
    "pydantic_ai.all_messages", "langfuse.trace.input", "tool_arguments", "request_data", "mlflow.spanInputs",
    "gcp.vertex.agent.llm_request", "gcp.vertex.agent.tool_call_args", "gcp.vertex.agent.data",
    "lk.input_text", "lk.user_input", "lk.user_transcript", "lk.instructions", "lk.chat_ctx", "lk.function_tool.arguments",
    "events", "all_messages_events",
)  # fmt: skip
OUTPUT_KEYS = (
    "langfuse.observation.output", "output.value", "gen_ai.output.messages", "gen_ai.completion",
    "traceloop.entity.output", "gen_ai.tool.call.result", "final_result", "pydantic_ai.all_messages", "langfuse.trace.output",
    "tool_response", "response_data", "mlflow.spanOutputs", "gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_response",
    "lk.response.text", "lk.response.function_calls", "lk.function_tool.output", "events", "all_messages_events",
)  # fmt: skip
INPUT_PREFIXES = (
    "gen_ai.prompt.", "llm.input_messages.", "gen_ai.system_instructions", "llm.prompts.", "embedding.embeddings.",
    "reranker.input_", "input.",
)  # fmt: skip
OUTPUT_PREFIXES = (
    "gen_ai.completion.", "llm.output_messages.", "retrieval.documents.", "reranker.output_", "llm.choices.", "llm.function_call",
    "output.",
)  # fmt: skip
"""Where the usual conventions keep the inputs and outputs of a span: whole, or flattened under a prefix."""
BESIDE_INPUT = (
    "llm.prompt_template.", "llm.invocation_parameters", "embedding.invocation_parameters", "llm.tools.",
    "gen_ai.tool.definitions", "model_request_parameters",
)  # fmt: skip
"""What a request says besides: as private as the input, and no part of it where it is shown."""
ERROR_KEYS = (
    "langfuse.observation.status_message", "error.message", "exception.message", "exception.stacktrace",
    "pydantic_ai.output.retry.cause", "pydantic_ai.tool.retry.cause",
)  # fmt: skip
MODEL_KEYS = ("langfuse.observation.model.name", "gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
USAGE_KEYS = {
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "total": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
}


_NO_VALUES = frozenset({
    *MODEL_KEYS, "user.id", "session.id", "langfuse.environment", "langfuse.release", "langfuse.version",
    "langfuse.trace.name", "langfuse.trace.tags", "langfuse.trace.public", "langfuse.observation.type",
    "langfuse.observation.level", "langfuse.observation.usage_details", "langfuse.observation.cost_details",
    "langfuse.observation.completion_start_time", "langfuse.observation.prompt.name", "langfuse.observation.prompt.version",
    "langfuse.internal.as_root", "langfuse.internal.is_app_root", "langfuse.experiment.id", "langfuse.experiment.name",
    "langfuse.experiment.dataset.id", "langfuse.experiment.item.id", "langfuse.experiment.item.version",
    "langfuse.experiment.item.root_observation_id", "openinference.span.kind", "gen_ai.system", "gen_ai.provider.name",
    "gen_ai.operation.name",
})  # fmt: skip
_SAY_WHAT = frozenset({
    "id", "ids", "name", "names", "model", "type", "kind", "system", "provider", "version", "operation", "role", "finish_reason",
    "finish_reasons", "format", "mime_type", "language", "level", "status", "method", "address", "port", "environment",
    "filepath", "namespace", "scope", "currency", "metadata", "tags",
})  # fmt: skip
"""Last parts of names behind which stands what something is, not what it holds."""


_OF_MODELS = frozenset({
    SCOPE, "agent_framework", "ai", "autogen-core", "haystack", "langsmith", "litellm", "openinference", "pydantic-ai",
    "strands-agents", "vllm",
    *(f"opentelemetry.instrumentation.{library}" for library in (
        "agno", "alephalpha", "anthropic", "bedrock", "cohere", "crewai", "google_generativeai", "groq", "haystack",
        "langchain", "llamaindex", "mistralai", "ollama", "openai", "openai_agents", "openai_v2", "replicate", "sagemaker",
        "together", "transformers", "vertexai", "voyageai", "watsonx", "writer",
    )),
})  # fmt: skip
"""Scopes of instrumentations of models and agents, or what they begin with (`langfuse._client.span_filter`)."""
_TYPES = {
    "llm": "generation", "chat": "generation", "text_completion": "generation", "generate_content": "generation",
    "embeddings": "embedding", "execute_tool": "tool", "invoke_agent": "agent", "create_agent": "agent",
    **{kind: kind for kind in (
        "span", "generation", "agent", "tool", "chain", "retriever", "evaluator", "embedding", "guardrail",
    )},
}  # fmt: skip
"""Langfuse's types of observations, by what OpenInference and OpenTelemetry's conventions call them."""


def is_of_a_model(scope: str, attributes: Iterable[str]) -> bool:
    """Whether a span is one of those that the Langfuse SDK sends by itself, of all that a program may record.

    Args:
        scope: the name of its instrumentation scope.
        attributes: their names.
    """
    parts = scope.split(".")
    known = any(".".join(parts[:length]) in _OF_MODELS for length in range(1, len(parts) + 1))
    return known or any(key.startswith("gen_ai.") for key in attributes)


def observation_type(said: str, operation: Any, *, has_model: bool) -> str:
    """The type of a span in Langfuse.

    Args:
        said: by the span: a type of Langfuse's, or a kind of OpenInference's.
        operation: its `gen_ai.operation.name`, if it has one.
        has_model: whether it names a model.
    """
    said = said.lower() if said != "span" else str(operation)
    return _TYPES.get(said) or ("generation" if has_model else "span")


def says_what_it_is(key: str) -> bool:
    """Whether an attribute is no value, but what Langfuse sorts a span by: a mask has no say in it, as on spans of ours."""
    return key in _NO_VALUES


def is_input(key: str) -> bool:
    """Whether an attribute holds inputs, or what is sent with them."""
    return key in INPUT_KEYS or key.startswith((*INPUT_PREFIXES, *BESIDE_INPUT))


def is_output(key: str) -> bool:
    """Whether an attribute holds outputs."""
    return key in OUTPUT_KEYS or key.startswith(OUTPUT_PREFIXES)


def is_error(key: str) -> bool:
    """Whether an attribute holds what an error says."""
    return key in ERROR_KEYS or (key.startswith(("error.", "exception.")) and key.rpartition(".")[2] not in _SAY_WHAT)


def is_kept(key: str, value: Any, *, inputs: bool, outputs: bool, errors: bool) -> bool:
    """Whether an attribute stays on a span from which inputs, outputs or errors are left out.

    Args:
        key: its name.
        value: a text, number or bool; what holds several is asked about as one that is none of these.
        inputs: whether those stay.
        outputs: likewise.
        errors: likewise.
    """
    if (is_input(key) and not inputs) or (is_output(key) and not outputs) or (is_error(key) and not errors):
        return False
    if (inputs and outputs) or is_input(key) or is_output(key) or is_error(key) or says_what_it_is(key):
        return True
    # of a convention that nobody knows here, it may be a copy of what is left out (LiteLLM's `llm.openai.messages`)
    return key.startswith("langfuse.") or type(value) in {bool, int, float} or key.rpartition(".")[2] in _SAY_WHAT


def decoded(value: Any) -> Any:
    """A value out of an attribute text: what is JSON is decoded, everything else is the text."""
    if type(value) is not str or value[:1] not in '{["0123456789-tfn':
        return value
    try:
        return decode(value)
    except (ValueError, RecursionError):
        return value
