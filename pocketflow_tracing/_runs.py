"""The start of a run: is it traced, under which trace id, with which attributes."""

from __future__ import annotations

from json import dumps
from typing import Any

from . import _attributes, _log, _options, _otel
from ._forks import see_to_fork
from ._graph import Graph
from ._guard import Seam, on_our_thread
from ._ids import source
from ._options import Options
from ._pipeline import Pipeline, pipeline_for
from ._sdk_told import begin, tell_outside, told
from ._threads import OwnLock
from .capture_types import weigh
from .delivery import delivery
from .frameworks._scopes import NotRecorded
from .recorder import Run, Span, unrecorded
from .render import render

_SMALL = 1000
"""Bytes, estimated, of an entry of the metadata that nested spans may have: the SDK takes texts of 200 characters …"""
_MOST_IN_ALL = 4000
"""… and of all entries together: redaction of long texts takes its time, and it is the host's."""
_OF_A_TRACE = ("session_id", "user_id", "version", "environment")
_lock = OwnLock()
_WATCHING = Seam("looking for the spans of other instrumentations")


def open_run(options: Options, name: str, shared: Any, left: Span | None) -> Run | NotRecorded:
    """Decide on a run and gather what is known of it.

    Args:
        options: of the decorator, or of `instrument`.
        name: the flow's name where the options give none.
        shared: what the flow is run with; given to options that are functions.
        left: the span that the caller has been left in by a run that is over, None where there is none.

    Returns:
        The run, or the scope of one that is not recorded.
    """
    see_to_fork()
    pipeline = options.pipeline or pipeline_for(options.config)
    if pipeline is None:
        return NotRecorded(None)
    if options.config is not None and options.pipeline is not pipeline:
        with _lock():  # of several threads with their first runs all take the one that stays
            pipeline = options.pipeline or pipeline
            options.resolve(pipeline)
    if not pipeline.enabled or on_our_thread.get():  # a mask that runs a flow would have it masked by one, and so on
        return NotRecorded(None)
    for sink in pipeline.sinks:
        with _WATCHING:
            sink.watch()
    outer = _otel.surrounding()
    if outer is None and left is not None:
        outer = (left.run.trace_id, left.span_id, True)
    trace_id = outer[0] if outer else source.trace_id()
    if not pipeline.samples(trace_id):
        return NotRecorded(None if outer else trace_id)  # the trace around goes on as it is
    if delivery.queue.is_full and delivery.queue.leaves_out(None):
        return NotRecorded(None)
    delivery.ready()
    attributes = unrecorded(_options.evaluate)(options, shared, pipeline.of_a_run())
    if left is not None:  # one trace is in one session
        attributes = _attributes.merge(attributes, {name: left.run.attributes.get(name) for name in _OF_A_TRACE})
    propagated = _otel.propagated()
    if propagated:
        attributes = _attributes.merge(propagated, attributes)
    around = _attributes.around()
    if around:
        attributes = _attributes.merge(around, attributes)
    name = options.flow_name or name
    is_app_root = not (outer and outer[2])
    attributes.setdefault("trace_name", name if is_app_root else None)  # else it is for the span around to say
    if "metadata" in attributes:
        _take_metadata(attributes, pipeline)
    attributes = _attributes.checked(attributes)
    if propagated and (experiment := _otel.experiment()):
        attributes["experiment"] = experiment
    run = Run(pipeline, name, trace_id, outer[1] if outer else None, attributes, Graph())
    run.is_app_root = is_app_root
    if pipeline.langfuse is not None:
        if outer and told(trace_id) is None:
            tell_outside(outer[1])
        begin(trace_id, pipeline.told, is_own=outer is None)
    if pipeline.debug:
        _log.debug_line(f"trace started: {run.name} ({trace_id:032x})")
    return run


def _take_metadata(attributes: dict[str, Any], pipeline: Pipeline) -> None:
    metadata = attributes["metadata"] = {
        key: pipeline.capture.snapshot(value) for key, value in attributes["metadata"].items()
    }
    if pipeline.rules.mask is not None:
        return  # it belongs to the worker: it may be slow, or wait for a lock that is held around the run
    # nested spans take over what is small, while the run goes on: these few values cannot wait for the worker
    small: dict[str, Any] = {}
    room = _MOST_IN_ALL
    for key, value in metadata.items():
        weight = weigh(value)
        if weight <= min(_SMALL, room):
            small[key] = value
            room -= weight
    shown = render(small, pipeline.rules, ("metadata",))
    if isinstance(shown, dict):
        attributes["metadata_texts"] = {
            key: value if isinstance(value, str) else dumps(value) for key, value in shown.items()
        }
