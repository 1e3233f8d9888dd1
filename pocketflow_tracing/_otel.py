"""The OpenTelemetry context that user code runs in: what makes a generation nest under the phase that made it.

While a phase runs, the current OpenTelemetry span is a non-recording one with our ids; whoever starts a span there
becomes its child. The baggage entry `langfuse_trace_id` keeps the Langfuse SDK from marking that child as an
application root, and the keys `langfuse.propagated.*` are the ones `langfuse.propagate_attributes` uses, so that
session, user and tags reach it too (langfuse 4.12 to 5.x; held by tests against each).
"""

from __future__ import annotations

from contextvars import ContextVar
from json import dumps
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context

from ._conventions import SCOPE, decoded
from ._finalisers import guarded
from ._otel_span import SPAN_KEY, Here, become_context, context_now, lasting
from ._sdk import instances
from ._weak import Remembered
from .recorder import current, set_current, span_of

if TYPE_CHECKING:
    from .recorder import Run, Span

_PROPAGATED = ("session_id", "user_id", "tags", "metadata", "version", "environment", "trace_name")
_EXPERIMENTS = "sdk-experiment"
"""The environment in which langfuse 5 has all that runs in an experiment."""
_OF_AN_EXPERIMENT = {
    "experiment_id": "langfuse.experiment.id",
    "experiment_name": "langfuse.experiment.name",
    "experiment_metadata": "langfuse.experiment.metadata",
    "experiment_dataset_id": "langfuse.experiment.dataset.id",
    "experiment_item_id": "langfuse.experiment.item.id",
    "experiment_item_metadata": "langfuse.experiment.item.metadata",
    "experiment_item_root_observation_id": "langfuse.experiment.item.root_observation_id",
}
"""What the SDK propagates in one, and the attributes that its spans have of it (langfuse 5, `_client/propagation.py`)."""
_MAX_TEXT = 200
"""Characters of a propagated metadata value; the SDK takes no longer ones."""

_left_open: ContextVar[Any] = ContextVar("pocketflow_tracing_left_open", default=None)
"""The span that the host has opened in a phase of the run and not closed in it: it goes on over the phases that follow."""
_leave_open = guarded(_left_open.set)
_BAGGAGE_KEY = next(iter(baggage.set_baggage("", "", Context())))
_CLAIM = "langfuse_trace_id"
_OF_USER_CODE = frozenset({"phase", "attempt", "function"})
"""The kinds of spans in which user code begins others."""
_new_here = Here.__new__
_put = dict.__setitem__


def _without_ended(context: Context) -> Context:
    """A context without what it has of a run that is over, and with all that the host has put into it since."""
    outside = lasting(context)
    if outside is context:
        return context
    left = baggage.remove_baggage(_CLAIM, context)
    claim = baggage.get_baggage(_CLAIM, outside)
    left = Context(left if claim is None else baggage.set_baggage(_CLAIM, claim, left))
    for key in (SPAN_KEY, *(f"langfuse.propagated.{name}" for name in _PROPAGATED)):
        _replace(left, key, outside.get(key))
    return left


def surrounding() -> tuple[int, int, bool] | None:
    """The OpenTelemetry span around the caller: (trace id, span id, whether the Langfuse SDK made it), or None."""
    now = lasting(context_now(), span_of(current.get()))
    span = trace.get_current_span(now)
    context = span.get_span_context()
    if not context.is_valid:
        return None
    scope = getattr(span, "instrumentation_scope", None)
    from_langfuse = getattr(scope, "name", None) == SCOPE
    claimed = baggage.get_baggage(_CLAIM, now) == f"{context.trace_id:032x}"
    return context.trace_id, context.span_id, from_langfuse or claimed


def opened_within(parent: Span) -> int | None:
    """The id of the Langfuse SDK's span that user code has opened in one of ours and is in, None where it is in none.

    Others may go elsewhere, or nowhere, and what stands below them would have no parent in Langfuse. One that is left open
    over several phases is around all that is below them, and tells nothing of where that was begun.
    """
    if parent.kind not in _OF_USER_CODE:
        return None
    span = context_now().get(SPAN_KEY)
    if type(span) is Here or span is _left_open.get() or not isinstance(span, trace.Span):
        return None
    run, context = parent.run, span.get_span_context()
    scope: Any = getattr(span, "instrumentation_scope", None)
    if getattr(scope, "name", None) != SCOPE or context.trace_id != run.trace_id or context.span_id == run.parent_id:
        return None
    if not context.trace_flags.sampled:
        return None
    if run.pipeline.langfuse is None:
        return context.span_id
    key = str(run.pipeline.config.langfuse_public_key)
    may_be_filtered = getattr(instances().get(key), "should_export_span", None) is not None
    return None if may_be_filtered or (scope.attributes or {}).get("public_key") != key else context.span_id


def propagated() -> dict[str, Any]:
    """What `langfuse.propagate_attributes` blocks around the caller say, by our names."""
    context = lasting(context_now())
    if not context:
        return {}
    found = {name: context.get(f"langfuse.propagated.{name}") for name in _PROPAGATED}
    metadata = found["metadata"]
    if isinstance(metadata, dict):  # langfuse 5 keeps each value JSON-encoded, 4 keeps plain texts
        found["metadata"] = {key: decoded(value) for key, value in metadata.items()}
    if context.get("langfuse.propagated.experiment_id") is not None:
        found["environment"] = _EXPERIMENTS
    return {name: value for name, value in found.items() if value is not None}


def experiment() -> dict[str, Any]:
    """What an experiment of the SDK's around the caller has each span carry, by attribute: texts, dicts of them in langfuse 4."""
    context = lasting(context_now())
    found = {key: context.get(f"langfuse.propagated.{name}") for name, key in _OF_AN_EXPERIMENT.items()}
    return {key: value for key, value in found.items() if isinstance(value, (str, dict))}


def run_context(run: Run) -> Context:
    """The context of a whole run: the baggage that claims the trace and the attributes that nested spans take over.

    A run that Langfuse does not get claims nothing: what a client of the program's sends there is a root of its own.
    """
    attributes = run.attributes
    context = _without_ended(context_now())
    if run.pipeline.langfuse is not None:
        context = baggage.set_baggage(_CLAIM, f"{run.trace_id:032x}", context)
    values = {key: attributes.get(key) for key in ("session_id", "user_id", "version", "environment", "tags")}
    values["trace_name"] = attributes.get("trace_name", run.name)
    texts = attributes.get("metadata_texts") or {}
    given = context.get("langfuse.propagated.metadata")
    values["metadata"] = {
        key: encoded if (encoded := _as_given(key, text, given)) is not None else text
        for key, text in texts.items()
        if len(text) <= _MAX_TEXT
    }
    for key, value in values.items():
        if value:
            context = otel_context.set_value(f"langfuse.propagated.{key}", value, context)
    return context


def _as_given(key: str, text: str, given: Any) -> Any:
    """A metadata value as the program has propagated it, if it says what the run's text says; None if not.

    langfuse 5 keeps it JSON-encoded, and only that tells the text "5" from the number.
    """
    encoded = given.get(key) if isinstance(given, dict) else None
    said = decoded(encoded)
    return encoded if (said if type(said) is str else dumps(said)) == text else None


def attach(scope: Any, *, base: Context | None = None) -> None:
    """Make our span the current one for OpenTelemetry, and give the scope what `detach` needs as `attached`.

    A span that the host has opened in an earlier phase and not closed yet stays the current one.

    Args:
        scope: a span of ours, or with one as its `span`; or with the `trace_id` of a run that is dropped.
        base: the context that ours is made of, for a run; else the current one.
    """
    around = context_now()
    open_one = _left_open.get()
    if open_one is not None and base is None and around.get(SPAN_KEY) is open_one:
        scope.attached = around, around
        return
    here = _new_here(Here)  # past an __init__ that would want the context now
    # a run that another, which is over, has left running keeps nothing of that one
    here._scope, here._outside = scope, around if base is None else lasting(around)  # noqa: SLF001 - no names of the span around
    context = Context(around if base is None else base)
    _put(context, SPAN_KEY, here)  # it is nobody else's yet
    try:
        scope.attached = context, around
        become_context(context)
    except BaseException:  # a Ctrl-C after it was set
        if context_now() is context:
            become_context(around)
        scope.attached = None
        raise


def detach(attached: tuple[Context, Context]) -> None:
    """Put the context back as it was before `attach`, with what the host has attached since; twice does no harm.

    It is to be called in Python's context of `attach`, once `current` is what it was.
    """
    ours, outside = attached
    now = context_now()
    if now is ours:
        become_context(outside)
    elif now is not outside:
        _leave(now, ours, outside)


def _leave(now: Context, ours: Context, outside: Context) -> None:
    """Take what is ours out of a context that the host has attached, or gone back to."""
    frame = current.get()
    run_goes_on, now_in = frame is not None, span_of(frame)
    left = Context(now)
    current_span = now.get(SPAN_KEY)
    if ours is not outside:
        _take_out(left, ours, outside)
        here: Any = ours[SPAN_KEY]
        if _is_within(current_span, here):
            current_span = outside.get(SPAN_KEY)
        span = span_of(here._scope)  # noqa: SLF001 - no names of the span around
        if span is not None:
            # a run that another one has left running ends where that one is still current
            run_goes_on = run_goes_on and (now_in is None or now_in.run is span.run)
            _settle(span.run, ours, outside, run_goes_on=run_goes_on)
    while type(current_span) is Here and current_span._scope.attached is None:  # noqa: SLF001 - no names of the span around
        current_span = current_span._outside.get(SPAN_KEY)  # noqa: SLF001 - as above
    _replace(left, SPAN_KEY, current_span)
    if not run_goes_on:
        _leave_open(None)
    elif type(current_span) is not Here and current_span is not outside.get(SPAN_KEY):
        _leave_open(current_span)
    become_context(left)


class Way(NamedTuple):
    """From one place to another: both contexts, and the frame that was current where that is not to have what runs there."""

    there: Context
    outside: Context
    frame: Any


def go_elsewhere(there: Context) -> Way:
    """Make a context of another process the current one; where it is of another trace than the run, the run is left."""
    outside = context_now()
    frame = current.get()
    here, leads_to = (trace.get_current_span(context).get_span_context() for context in (outside, there))
    if not leads_to.is_valid or leads_to.trace_id == here.trace_id:
        frame = None
    if frame is not None:  # a worker whose loop is traced, say, and each of its jobs has a trace to go on with
        there = Context(baggage.remove_baggage(_CLAIM, there))
        for name in _PROPAGATED:  # what the run says of itself is not said of the job
            _replace(there, f"langfuse.propagated.{name}", None)
        set_current(None)
    become_context(there)
    return Way(there, outside, frame)


def come_back(way: Way) -> None:
    """Put things back as far as they are still so: the run may be over, and this another of Python's contexts."""
    now, outside = context_now(), lasting(way.outside)
    if now is way.there:
        become_context(outside)
    elif (span := way.there.get(SPAN_KEY)) is not None and now.get(SPAN_KEY) is span:
        left = Context(now)
        _replace(left, SPAN_KEY, outside.get(SPAN_KEY))
        become_context(left)
    if way.frame is not None and outside is way.outside and current.get() is None:
        set_current(way.frame)


def _is_within(span: Any, here: Here) -> bool:
    """Whether a span is one of ours, or of a scope inside of it that a Ctrl-C has left open."""
    while type(span) is Here and span is not here:
        span = span._outside.get(SPAN_KEY)  # noqa: SLF001 - no names of the span around
    return span is here


def _settle(run: Run, ours: Context, outside: Context, *, run_goes_on: bool) -> None:
    """Remember a context that the host may go back to after the run, or leave nothing of the run in those."""
    if run_goes_on:
        if run.contexts is None:
            run.contexts = Remembered()
        run.contexts.add(ours)
    elif run.contexts is not None:
        for context in run.contexts:
            _take_out(context, ours, outside)


def _take_out(context: Context, ours: Context, outside: Context) -> None:
    for key, value in ours.items():
        if context.get(key) is value:
            _replace(context, key, outside.get(key))
    claim = baggage.get_baggage(_CLAIM, ours)
    if claim != baggage.get_baggage(_CLAIM, outside) and claim == baggage.get_baggage(_CLAIM, context):
        _replace(context, _BAGGAGE_KEY, baggage.remove_baggage(_CLAIM, context).get(_BAGGAGE_KEY))


def _replace(context: Context, key: str, value: Any) -> None:
    if value is None:
        dict.pop(context, key, None)
    else:
        _put(context, key, value)
