"""A program with a secret in every place that data can enter; run by `test_secrets.py`."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import sys
import threading
import urllib.parse
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pydantic
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


class Model(pydantic.BaseModel):
    key: pydantic.SecretStr
    api_key: str


class SecretStr(str):
    """What pydantic's class is called."""

    __slots__ = ()


NAMED_IN_TEXT = {
    "query": f"see https://host/path?page=1&api_key={PLAIN}#top",
    "json": json.dumps({"arguments": json.dumps({"q": 1, "password": PLAIN, "credentials": {"user": PLAIN}})}),
    "repr": repr({"a": 1, "access_token": PLAIN}),
    "env": f"PORT=80\nexport DB_PASSWORD='{PLAIN}'\nOPENAI_API_KEY={PLAIN}\n",
    "curl": f"curl -H 'x-api-key: {PLAIN}' -H 'Authorization: Bearer {PLAIN}0' https://host",
    "raw": f"GET / HTTP/1.1\r\nCookie: sid={PLAIN}\r\n\r\n",
    "parameters": f"api_key={PLAIN}&page=1",
    "data": f'{{"token": "{PLAIN}"}}'.encode(),
}
"""The same secret in texts that are data, where its name stands before it."""


def objects() -> dict[str, Any]:
    request = httpx.Request("GET", f"https://user:{PLAIN}@host/?token={PLAIN}", headers={"X-Api-Key": PLAIN})
    return {
        "request": request,
        "url": request.url,
        "headers": request.headers,
        "asgi": {"headers": [(b"authorization", PLAIN.encode())]},
        "parsed": urllib.parse.urlparse(f"https://user:{PLAIN}@host/?token={PLAIN}"),
        "variables": [{"name": "DB_PASSWORD", "value": PLAIN}],
        "array": np.array([(PLAIN, 1)], dtype=[("password", "U40"), ("n", "i4")]),
        "frame": pd.DataFrame({"password": [PLAIN]}),
        "polars": pl.DataFrame({"auth_token": [PLAIN]}),
        "model": Model(key=PLAIN, api_key=PLAIN),
        "partial": functools.partial(print, password=PLAIN),
        "thread": threading.Thread(kwargs={"password": PLAIN}),
        "environ": {"OPENAI_API_KEY": PLAIN, "COOKIE": PLAIN},
        "client": httpx.Client(headers={"Authorization": PLAIN}, auth=("user", PLAIN)),
    }


def secrets() -> dict[Any, Any]:
    return {**plain_secrets(), **objects()}


def plain_secrets() -> dict[Any, Any]:
    """Those that keep their names when another library writes them as JSON, as the Langfuse SDK does."""
    return {
        **NAMED_IN_TEXT,
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
        with get_client().start_as_current_observation(
            name="ask", as_type="generation", input=plain_secrets()
        ) as generation:
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
        local = f"{PLAIN} in a local variable"
        assert local
        request = httpx.Request(
            "GET", f"https://user:{PLAIN}@host/?access_token={PLAIN}", headers={"Authorization": PLAIN}
        )
        try:
            raise httpx.HTTPStatusError(
                f"Authorization: {PLAIN}", request=request, response=httpx.Response(401, request=request)
            )
        except httpx.HTTPStatusError as error:
            failure = ValueError(f"api_key={PLAIN}", {"password": PLAIN}, KEY)
            failure.headers = {"Authorization": PLAIN}
            if hasattr(failure, "add_note"):
                failure.add_note(f"token: {PLAIN}")
                failure.add_note(f"sent {{'Cookie': '{PLAIN}', 'credentials': {{'a': '{PLAIN}'}}}}")
            raise failure from error


class Keep(Node):
    """Keeps an error in `shared`, where it is a value."""

    def exec(self, prep_res: Any) -> Any:
        raise RuntimeError(f"password={PLAIN}", secrets())

    def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
        return exc

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["error"] = exec_res


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
    ask - f"action {KEY}" >> Items() >> Keep()
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
