"""The data of the pages, as JSON."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketflow_tracing.store import RunNotFoundError, RunRow, Store, StoreError
from pocketflow_tracing.store.statistics import Choices, NodeRow, choices, node_figures, run_figures

from .compare import align, difference, part_of
from .layout import lay_out
from .params import BadRequestError, filters_of, number_of, parse_cursor
from .shape import COLUMNS, flow_json, run_json, span_json, span_rows
from .states import states_json, value_json

__all__ = ["routes"]

_PAGE, _MOST = 50, 500
_NOTHING_NEW = 204

Answer = Callable[[Store, Request], "dict[str, Any] | None"]


def routes() -> list[Route]:
    """Return the routes below /api; each answers with what it read in this moment."""
    answers: dict[str, Answer] = {
        "/api/runs": _runs,
        "/api/figures": _figures,
        "/api/choices": _choices,
        "/api/runs/{run}": _run,
        "/api/runs/{run}/spans/{span}": _span,
        "/api/runs/{run}/states": _states,
        "/api/runs/{run}/states/{step:int}": _value,
        "/api/nodes": _nodes,
        "/api/compare": _compare,
        "/api/difference": _difference,
    }
    return [Route(path, _endpoint(answer), methods=["GET"]) for path, answer in answers.items()]


def _endpoint(answer: Answer) -> Callable[[Request], Response]:
    # Not async: reading a file blocks, and Starlette runs such functions on a thread.
    def endpoint(request: Request) -> Response:
        began = time.perf_counter()
        try:
            found = answer(request.app.state.store, request)
        except BadRequestError as error:
            return _json({"error": str(error)}, 400)
        except RunNotFoundError as error:
            return _json({"error": str(error)}, 404)
        except StoreError as error:
            # A store that is not there yet is no fault of anybody's: it is what there is to tell.
            missing = not request.app.state.store.path.exists()
            return _json({"error": str(error), "missing": missing}, 200 if missing else 503)
        took = f"app;dur={(time.perf_counter() - began) * 1000:.1f}"
        if found is None:
            return Response(status_code=_NOTHING_NEW, headers={"Server-Timing": took})
        return _json(found, headers={"Server-Timing": took})

    return endpoint


def _json(value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # ASCII: lone surrogates, which no encoding holds, stand as escapes.
    body = json.dumps(value, separators=(",", ":"))
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def _seen(request: Request, state: str) -> bool:
    return request.query_params.get("seen") == state


def _runs(store: Store, request: Request) -> dict[str, Any] | None:
    query = request.query_params
    filters, before = filters_of(query), parse_cursor(query.get("before"))
    limit = max(1, number_of(query, "limit", _PAGE, _MOST))
    # The first row of the next page is read too: it tells whether there is one.
    found = store.runs(filters, limit=limit + 1, before=before)
    runs = [run_json(run) for run in found[:limit]]
    state = hashlib.sha256(repr([(run.revision, run.run_id, run.status) for run in found]).encode()).hexdigest()[:16]
    if _seen(request, state):
        return None
    following = runs[-1]["cursor"] if len(found) > limit else None
    return {"runs": runs, "next": following, "state": state, "now": time.time_ns() / 1e6}


def _figures(store: Store, request: Request) -> dict[str, Any] | None:
    found = run_figures(store, filters_of(request.query_params))
    return {"total": flow_json(found.total), "flows": [flow_json(flow) for flow in found.flows]}


def _choices(store: Store, _request: Request) -> dict[str, Any]:
    found: Choices = choices(store)
    return {"flows": found.flows, "sessions": found.sessions, "users": found.users, "tags": found.tags}


def _run(store: Store, request: Request) -> dict[str, Any] | None:
    query = request.query_params
    after = number_of(query, "after", 0, 2**62)
    run_id = request.path_params["run"]
    changes = store.run_changes(run_id, after)
    run = changes.runs[0]
    if after and not changes.spans and run.revision <= after and query.get("status") == run.status:
        return None
    made = {
        "run": run_json(run),
        "columns": COLUMNS,
        "spans": span_rows(run, changes.spans),
        "revision": changes.revision,
        "now": time.time_ns() / 1e6,
        # A graph grows when a node turns up that was not there at the start: it is small, and sent anew.
        "graph": lay_out(store.run(run_id).graph),
    }
    return made if after else made | {"neighbours": _neighbours(store, run)}


def _neighbours(store: Store, run: RunRow) -> dict[str, str | None]:
    older = store.runs(filters_of({}, flow=run.name), limit=1, before=(run.start_ns, run.run_id))
    return {"older": older[0].run_id if older else None}


def _span(store: Store, request: Request) -> dict[str, Any]:
    run = store.run_changes(request.path_params["run"], 2**62).runs[0]
    span = store.span(run.run_id, request.path_params["span"])
    if span is None:
        raise RunNotFoundError("There is no such span in this run.")
    return span_json(run.start_ns, span)


def _states(store: Store, request: Request) -> dict[str, Any]:
    return {"states": states_json(store.states(request.path_params["run"]))}


def _value(store: Store, request: Request) -> dict[str, Any]:
    path = request.path_params
    found = value_json(store.states(path["run"]), path["step"], request.query_params.get("key", ""))
    if found is None:
        raise RunNotFoundError("This visit wrote nothing under that key.")
    return found


def _nodes(store: Store, request: Request) -> dict[str, Any]:
    query = request.query_params
    if not query.get("flow"):
        raise BadRequestError("Name the flow whose nodes are meant.")
    found = node_figures(store, filters_of(query), max(1, number_of(query, "limit", 1000, 10_000)))
    return {
        "runs": found.runs,
        "matching": found.matching,
        "run_took": found.run_ns / 1e3,
        "nodes": [_node_json(row) for row in found.nodes],
        "versions": [
            {
                "version": figures.version,
                "runs": figures.runs,
                "run_took": figures.run_ns / 1e3,
                "nodes": [_node_json(row) for row in figures.nodes],
            }
            for figures in found.versions
        ],
    }


def _node_json(row: NodeRow) -> dict[str, Any]:
    return {
        "node": row.node,
        "name": row.name,
        "visits": row.visits,
        "errors": row.errors,
        "recovered": row.recovered,
        "retried": row.retried,
        "fallbacks": row.fallbacks,
        "total": row.total_ns / 1e3,
        "p50": None if row.p50_ns is None else row.p50_ns / 1e3,
        "p95": None if row.p95_ns is None else row.p95_ns / 1e3,
    }


def _compare(store: Store, request: Request) -> dict[str, Any]:
    runs = [store.run(request.query_params.get(side) or "") for side in ("left", "right")]
    left, right = ((run, store.spans(run.run_id)) for run in runs)
    return {"left": run_json(runs[0]), "right": run_json(runs[1]), **align(left, right)}


def _difference(store: Store, request: Request) -> dict[str, Any]:
    query = request.query_params
    part = query.get("part", "output")
    sides = []
    for side in ("left", "right"):
        run_id, _, span_id = query.get(side, "").partition("/")
        sides.append(part_of(store.spans(run_id), span_id, part) if span_id else None)
    return {"lines": difference(*sides)}
