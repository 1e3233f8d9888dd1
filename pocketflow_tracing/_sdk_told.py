"""Whose settings hold for what stands in a run by ids alone: `trace_context=`, headers, a thread without any context.

The traces of runs are known, those of runs that go on whatever else comes. Where a run stands in a trace of the program's, there
is more in that than the run: the ids of its spans are known as well, as far as somebody has asked for them, those of the SDK's
spans in it, and those of the SDK's spans outside of every run.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from .redaction import Redactor, Rules

if TYPE_CHECKING:
    from ._pipeline import Pipeline
    from .capture_types import Limits
    from .config import TracingConfig

__all__ = ["Switches", "Told", "begin", "end", "tell", "tell_outside", "told"]

_MOST = 20_000
"""Ids that are known of runs that are over, the newest."""
_MOST_GOING = 100_000
"""Traces that began with a run and have not ended."""
_MOST_IN_ONE = 20
"""Settings of runs in one trace, that differ."""
_WITHHELD = "<withheld: the flow whose mask this needs is gone>"

# whose first entry goes as fast as any: a dict looks for it behind all that went before
_going: OrderedDict[int, _Trace] = OrderedDict()
_traces: OrderedDict[int, _Trace] = OrderedDict()
_spans: OrderedDict[int, Told | None] = OrderedDict()


class Switches(NamedTuple):
    """What a configuration says of the spans of others in its runs, without what keeps a program's modules alive."""

    trace_inputs: bool
    trace_outputs: bool
    trace_errors: bool
    media: bool
    environment: str | None
    release: str | None

    @classmethod
    def of(cls, config: TracingConfig) -> Switches:
        """Those of a resolved configuration."""
        return cls(
            config.trace_inputs,
            config.trace_outputs,
            config.trace_errors,
            config.media,
            config.environment,
            config.release,
        )


class Told:
    """The settings of a run's pipeline, also when that is gone: a mask may lead to all of a module, and is not kept.

    Args:
        switches: of its configuration.
        rules: what hides values; of one with a mask, what does when that is gone.
        pipeline: of one with a mask.
    """

    __slots__ = ("_pipeline", "_rules", "switches")

    def __init__(self, switches: Switches, rules: Rules, pipeline: Pipeline | None = None) -> None:
        self.switches = switches
        self._rules = rules
        self._pipeline = None if pipeline is None else ref(pipeline)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Told:
        """Those of a pipeline; where each job has one of its own, without a mask all of them have the same."""
        switches, rules = Switches.of(pipeline.config), pipeline.rules
        shared = _shared(switches, rules.redact, tuple(rules.policy.items()), rules.limits, rules.mask is not None)
        return shared if rules.mask is None else cls(switches, shared.rules, pipeline)

    @property
    def rules(self) -> Rules:
        """What hides values."""
        pipeline = self._pipeline() if self._pipeline is not None else None
        return self._rules if pipeline is None else pipeline.rules


class _Several(Told):
    """The settings of runs that stand in one trace: what any of them hides is hidden.

    Args:
        parts: of these runs, each once.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Told, ...]) -> None:
        self.parts = parts
        said = [part.switches for part in parts]
        self.switches = Switches(
            all(one.trace_inputs for one in said),
            all(one.trace_outputs for one in said),
            all(one.trace_errors for one in said),
            all(one.media for one in said),
            said[0].environment,
            said[0].release,
        )

    @property
    def rules(self) -> Rules:
        """What hides values."""
        found = [part.rules for part in self.parts]
        redact = Redactor(
            tuple(name for rules in found for name in rules.redact.extra),
            defaults=any(rules.redact.defaults for rules in found),
        )
        masks = [rules.mask for rules in found if rules.mask is not None]

        def mask(value: Any, path: Any) -> Any:
            for each in masks:
                value = each(value, path)
            return value

        policy = {pattern: action for rules in found for pattern, action in rules.policy.items()}
        return Rules(redact, mask if masks else None, policy, found[0].limits)

    @classmethod
    def with_one_more(cls, known: Told, other: Told) -> Told:
        """What is known of a trace, and the settings of another run in it."""
        parts = known.parts if isinstance(known, cls) else (known,)
        return known if other in parts or len(parts) >= _MOST_IN_ONE else cls((*parts, other))


@lru_cache(maxsize=1000)
def _shared(
    switches: Switches, redact: Redactor, policy: tuple[tuple[str, Any], ...], limits: Limits, has_mask: bool
) -> Told:
    return Told(switches, _rules(redact, policy, limits, has_mask))


@lru_cache(maxsize=1000)
def _rules(redact: Redactor, policy: tuple[tuple[str, Any], ...], limits: Limits, has_mask: bool) -> Rules:
    # a redactor of its own: that of a pipeline remembers the names that it was asked about
    bare = Redactor(redact.extra, defaults=redact.defaults)
    return Rules(bare, _withhold if has_mask else None, dict(policy), limits)


class _Trace(NamedTuple):
    """A trace in which there are runs: their settings, whether it began with one, and how many go on."""

    known: Told
    is_own: bool
    runs: int


@lru_cache(maxsize=1000)
def _over(known: Told, is_own: bool) -> _Trace:
    return _Trace(known, is_own, 0)


def _withhold(_value: Any, _path: Any) -> str:
    return _WITHHELD


def begin(trace_id: int, known: Told, is_own: bool) -> None:
    """Note the settings of a trace in which a run begins, and in which there may be others.

    Args:
        trace_id: of the trace.
        known: the settings.
        is_own: whether the trace begins with the run.
    """
    going = _going.get(trace_id)
    before = going or _traces.get(trace_id)
    if before is not None:
        known, is_own = _Several.with_one_more(before.known, known), before.is_own
    _put(_going, trace_id, _Trace(known, is_own, going.runs + 1 if going is not None else 1), _MOST_GOING)


def end(trace_id: int) -> None:
    """A run is over: what it has left running, or told of its ids, may come yet."""
    going = _going.pop(trace_id, None)
    if going is not None and going.runs > 1:
        _put(_going, trace_id, going._replace(runs=going.runs - 1), _MOST_GOING)
    elif going is not None:
        _put(_traces, trace_id, _over(going.known, going.is_own), _MOST)


def tell(span_id: int, known: Told) -> None:
    """Note the settings of the run that a span stands in, whose id others may have."""
    _put(_spans, span_id, known, _MOST)


def tell_outside(span_id: int) -> None:
    """Note that a span stands in no run, though there may be one in its trace."""
    _put(_spans, span_id, None, _MOST)


def told(trace_id: int, *span_ids: int) -> Told | None:
    """The settings of the run that something in a trace stands in, None where it is in none.

    Args:
        trace_id: of the trace.
        span_ids: of a span its own, and that of the one above, if there is one.
    """
    for span_id in span_ids:
        if span_id in _spans:
            with contextlib.suppress(KeyError):  # pushed out just now
                _spans.move_to_end(span_id)  # it is asked about: the root of a long program stays known
            return _spans.get(span_id)
    trace = _going.get(trace_id) or _traces.get(trace_id)
    is_around = trace is not None and not trace.is_own and len(span_ids) == 1  # the root of a trace of the program's
    return None if trace is None or is_around else trace.known


def _put(ids: OrderedDict[int, Any], known: int, settings: Any, most: int) -> None:
    if len(ids) >= most:
        with contextlib.suppress(KeyError):  # another thread was faster
            ids.popitem(last=False)
    ids[known] = settings
