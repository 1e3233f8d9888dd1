"""A configuration made ready for use: resolved once, at the first run, and then only read."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import _log
from . import _settings_kinds as kinds
from ._command import command
from ._forks import unforked
from ._guard import Seam
from ._sdk_told import Told
from ._system import is_faked, variable
from ._threads import OwnLock
from ._time import chance_as_it_was
from .capture import Capture
from .capture_allowance import Allowance
from .config import TracingConfig
from .delivery import delivery
from .recorder import unrecorded
from .redaction import rules_of

if TYPE_CHECKING:
    from .sinks.langfuse import LangfuseSink
    from .sinks.local import LocalSink

_FULL_RATE = 1 << 64
_OPENING = Seam("getting ready to send to Langfuse")
_allowance = Allowance()
"""Of the process."""
_OF_A_RUN = ("session_id", "user_id", "tags", "metadata", "version", "environment", "release")
"""What a config says of every run."""


class Pipeline:
    """What every span of a run asks: what is recorded, how values are captured, where records go.

    Args:
        config: a config of its own; it is resolved here against the environment and `.env`.
    """

    def __init__(self, config: TracingConfig) -> None:
        self.config = config = config.resolved()
        problems = config.problems()
        self.debug = config.debug
        if self.debug:
            _log.show_debug_lines()
        self.inputs = config.trace_inputs
        self.outputs = config.trace_outputs
        self.values_of_state = config.trace_inputs and config.trace_outputs
        self.prep = config.trace_prep
        self.exec = config.trace_exec
        self.post = config.trace_post
        # what a phase returned is shown again by the next one, which takes it
        self.hands_on = self.inputs and self.outputs and self.exec and self.post
        self.errors = config.trace_errors
        self.rules = rules_of(config)
        self.capture = Capture(
            self.rules.limits,
            {kind: unrecorded(serialize) for kind, serialize in config.serializers.items()},
            errors=config.trace_errors,
            is_secret=self.rules.redact.hits,
            is_ruled=self.rules.is_ruled if self.rules.has_classes else None,
            allowance=_allowance,
        )
        # names, ids and facts of our own: cleaned like every text, but not values that a user's mask or policy is about
        self.plain_rules = replace(self.rules, mask=None, policy={})
        self.attributes = {name: getattr(config, name) for name in _OF_A_RUN}
        self.told = Told.of(self)
        self.names: dict[str, str] = {}  # texts that come again and again, rendered once
        self.max_run_bytes = config.max_run_mb * 1_000_000
        self.media_bytes = 0  # of the largest medium that is sent
        # the sampler of the Langfuse SDK decides by the lower 64 bits of the trace id: the same test here keeps or
        # drops a run together with the generations below it
        self._sample_bound = round(config.sample_rate * _FULL_RATE)
        self.sinks: tuple[LocalSink | LangfuseSink, ...] = ()
        self.live = False  # whether a sink shows spans that still run
        self.langfuse: LangfuseSink | None = None
        self.local: LocalSink | None = None
        self.enabled = config.enabled
        if self.enabled:
            self._open_sinks()
        for problem in problems:
            _log.warn_once(f"{problem}{self._instead(problem)}", about=problem)
        self.enabled = bool(self.sinks)
        opened: tuple[LocalSink | LangfuseSink, ...] = self.sinks
        for sink in opened:
            delivery.use(sink, self)
            sink.watch()  # before any user code of the first run, and even if sampling drops that run
        self.enqueue = delivery.queue.put
        self.announce = delivery.queue.put_begun
        self.completed = delivery.completed
        delivery.configure(
            config.flush_interval, config.shutdown_timeout, config.queue_size, int(config.queue_mb * 1024 * 1024)
        )
        if self.debug:
            _log.debug_line(self._summary())

    def samples(self, trace_id: int) -> bool:
        """Whether the run with this trace id is kept."""
        bound = self._sample_bound
        if self.langfuse is not None and self.langfuse.says.rate < 1.0 and not self.config.is_named("sample_rate"):
            bound = min(bound, round(self.langfuse.says.rate * _FULL_RATE))
        return trace_id % _FULL_RATE < bound

    def of_a_run(self) -> dict[str, Any]:
        """What is to be said of every run, where its flow says nothing else: one trace is in one environment and release."""
        if self.langfuse is None or not self.langfuse.says.places:
            return self.attributes
        places = self.langfuse.says.places.items()
        return {**self.attributes, **{name: said for name, said in places if not self.config.is_named(name)}}

    def _instead(self, problem: str) -> str:
        """Say where runs go when a problem keeps them from Langfuse."""
        if not problem.endswith("Nothing is sent to Langfuse."):
            return ""
        return f" Runs are recorded in {self.config.store}." if self.local else " Runs are recorded nowhere."

    def _open_sinks(self) -> None:
        config = self.config
        path = config.store_path()
        if path is not None and not has_sqlite():
            _log.warn_once("This Python has no sqlite3, so nothing is recorded in a store.")
            path = None
        automatic = config.store == "auto"
        config.store = path or "off"  # absolute from now on: the program may change its directory
        if config.has_langfuse and langfuse_switch(config) is None:
            with _OPENING:  # what it imports may be broken, or hidden by a file of the program's own with its name
                self.langfuse = _langfuse_sink().open_sink(config)
                self.media_bytes = int(config.media_max_mb * 1_000_000) if config.media else 0
                self.sinks += (self.langfuse,)
        # with Langfuse, "auto" means: only when something must be kept
        if path is not None and (self.langfuse is None or not automatic):
            with unforked():
                from .sinks import local  # noqa: PLC0415 - sqlite3 only where the store is used

            self.local = local.open_sink(path, config)
            if automatic and not config.langfuse_public_key and not config.langfuse_secret_key:
                self.local.to_be_said = (
                    f"No Langfuse keys are set, so runs are recorded in {path}; `{command()} show last` shows "
                    "the newest. Setting POCKETFLOW_TRACE_STORE silences this line."
                )
            self.sinks += (self.local,)
            self.live = True

    def _summary(self) -> str:
        if not self.config.enabled:
            return "switched off (POCKETFLOW_TRACING_ENABLED)"
        if not self.sinks:
            return "nothing to trace to: no Langfuse credentials, and the store is off"
        return "initialised: " + ", ".join(sink.describe() for sink in self.sinks)


def has_sqlite() -> bool:
    """Whether this Python can keep a store: one may be built without."""
    try:
        with unforked():
            import sqlite3  # noqa: F401, PLC0415 - only where the store is used
    except ImportError:
        return False
    return True


def langfuse_switch(config: TracingConfig) -> str | None:
    """The variable that switches sending to Langfuse off, None where none does."""
    if not config.langfuse_enabled:
        return "LANGFUSE_TRACING_ENABLED"
    return "OTEL_SDK_DISABLED" if _says("OTEL_SDK_DISABLED", True) else None


def _says(name: str, word: bool) -> bool:
    """Whether a variable of the environment says yes, or no."""
    try:
        return kinds.BOOL.read(variable(name)) is word
    except kinds.RefusedError:
        return False


def preload() -> None:
    """Import what the first run will need, while the program is still being set up.

    Called when a flow is marked or `instrument` is called. Imports on the worker instead could deadlock with imports of
    the program, and imports in the first run would hold up its event loop. Only the modules are chosen here; the
    settings themselves are read at the first run.
    """
    if _says("POCKETFLOW_TRACING_ENABLED", False) or is_faked():
        return
    with unforked():
        if variable("LANGFUSE_PUBLIC_KEY"):
            _langfuse_sink().preload()
            if has_sqlite():
                from .sinks import _kept  # noqa: F401, PLC0415 - as below
        from . import _sink_shares  # noqa: F401, PLC0415 - rendering, for the worker

        if has_sqlite():
            from .sinks import local  # noqa: F401, PLC0415 - sqlite3 only where something is traced


def _langfuse_sink() -> ModuleType:
    # httpx imports rich where it finds it, which draws a number; later on other threads may be drawing
    with unforked(), contextlib.nullcontext() if "httpx" in sys.modules else chance_as_it_was():
        from .sinks import langfuse  # noqa: PLC0415 - httpx and the protobuf messages only where Langfuse is used
    return langfuse


_lock = OwnLock()
_default: Pipeline | None = None
"""Of the process: what the environment alone decides."""


def pipeline_for(config: TracingConfig | None) -> Pipeline | None:
    """The pipeline of a decorator's config, or the process's default one, which the environment alone decides.

    Returns:
        None while a test's files stand in the place of those that it would be made of.
    """
    global _default  # noqa: PLW0603 - one fact of the process
    if config is None and _default is not None:
        return _default
    if is_faked():
        _log.warn_once(
            "A test's files stand in the place of the real ones (those of pyfakefs, or of a mock on pathlib.Path): what runs "
            "first while they do is not recorded."
        )
        return None
    if config is not None:
        with unforked():  # what reads settings is imported with the first of them
            return Pipeline(config)
    with unforked(), _lock():
        _default = _default or Pipeline(TracingConfig())
    return _default


def forget_default() -> None:
    """Resolve the environment anew at the next run (tests change it)."""
    global _default  # noqa: PLW0603
    _default = None
