"""A program with a secret in every place that data can enter; run by `test_secrets.py`."""

from __future__ import annotations

import dataclasses
import logging
import sys
from typing import Any

import httpx
from langfuse import get_client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from pocketflow import BatchFlow, BatchNode, Flow, Node

import pocketflow_tracing
from pocketflow_tracing import TracingConfig, add_metadata, add_score, trace_attributes, trace_flow

KEY = "sk-proj-canary0123456789abcdefgh"
PLAIN = "canary-without-a-form"
"""A secret that is known by its name only."""

NAMED = {"api_key": PLAIN, "nested": [{"password": PLAIN, "Authorization": f"Bearer {PLAIN}"}], b"token": PLAIN}
FORMED = {"text": f"use {KEY} please", f"key {KEY}": 1, "deep": {"list": [f"https://user:{PLAIN}@host/?x=1"]}}


@dataclasses.dataclass
class Account:
    user: str
    password: str = PLAIN


class SecretStr(str):
    """What pydantic's class is called."""

    __slots__ = ()


def secrets() -> dict[Any, Any]:
    return {
        **NAMED,
        **FORMED,
        "account": Account("u"),
        "secret_str": SecretStr(PLAIN),
        "bytes": KEY.encode(),
        "headers": [("Cookie", PLAIN)],
    }


class Ask(Node):
    def prep(self, shared: Any) -> Any:
        shared["later"] = secrets()
        return secrets()

    def exec(self, prep_res: Any) -> Any:
        with get_client().start_as_current_observation(name="ask", as_type="generation", input=secrets()) as generation:
            generation.update(
                output={"api_key": PLAIN, "text": KEY}, metadata={"token": PLAIN}, status_message=f"key {KEY}"
            )
        with trace.get_tracer("theirs").start_as_current_span("chat") as span:
            span.set_attribute("gen_ai.system", "x")
            span.set_attribute("gen_ai.request.model", f"model {KEY}")
            span.set_attribute("http.request.header.authorization", PLAIN)
            span.set_attribute("gen_ai.prompt", f"use {KEY}")
            span.add_event("log", {"password": PLAIN, "text": KEY})
        return secrets()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        add_metadata(**FORMED, token=PLAIN)
        add_score("rated", KEY, comment=f"with {KEY}")
        shared.update(secrets())
        shared["account"].password = PLAIN
        shared["text"] = f"now {KEY}"
        return f"action {KEY}"


class Fail(Node):
    def exec(self, prep_res: Any) -> Any:
        request = httpx.Request(
            "GET", f"https://user:{PLAIN}@host/?access_token={PLAIN}", headers={"Authorization": PLAIN}
        )
        try:
            raise httpx.HTTPStatusError(
                f"Authorization: {PLAIN}", request=request, response=httpx.Response(401, request=request)
            )
        except httpx.HTTPStatusError as error:
            failure = ValueError(f"api_key={PLAIN}", {"password": PLAIN}, KEY)
            if hasattr(failure, "add_note"):
                failure.add_note(f"token: {PLAIN}")
            raise failure from error


class Items(BatchNode):
    def prep(self, shared: Any) -> Any:
        return [secrets(), KEY]

    def exec(self, prep_res: Any) -> Any:
        return prep_res


class Passes(BatchFlow):
    def prep(self, shared: Any) -> Any:
        return [secrets()]


def mask(value: Any, path: tuple[Any, ...]) -> Any:
    if value == "mask me":
        raise RuntimeError(PLAIN)
    return value


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    trace.set_tracer_provider(TracerProvider())
    config = TracingConfig(debug=True, mask=mask, metadata={"api_key": PLAIN}, session_id=f"session {KEY}")
    sys.stdout.write(f"{config!r} {config} {config.describe()}\n")
    options = dict(config=config, tags=[f"tag {KEY}"], metadata=lambda shared: secrets(), user_id=f"user {KEY}")
    named = type(f"Node {KEY}", (Ask,), {})
    ask = named()
    ask - f"action {KEY}" >> Items()
    flow = trace_flow(flow_name=f"Flow {KEY}", **options)(Flow(start=ask))
    with trace_attributes(session_id=KEY, metadata={**FORMED, "token": PLAIN}):
        flow.set_params(secrets())
        flow.run(secrets())
        trace_flow(**options)(Passes(start=Items())).run(secrets())
        try:
            trace_flow(**options)(Flow(start=Fail())).run({"x": "mask me"})
        except ValueError:
            pass
        trace_flow(**options)(lambda password, shared: Flow(start=Items()).run(shared))(PLAIN, secrets())
    sys.stdout.write(f"{flow!r} {pocketflow_tracing.flush(timeout=float(sys.argv[1]))}\n")


if __name__ == "__main__":
    main()
