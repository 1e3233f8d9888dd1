"""The Langfuse SDK in this process: the client that generations inside nodes go through.

A client that the user made for the same project is theirs: it is used, its masks are honoured, it is never shut down.
Where there is none when a run begins, one is made, with an exporter that leads into our delivery, so that generations
are as safe from outages as the spans around them. langfuse is never imported here before the program has imported it.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from . import _sdk_spans
from ._guard import Seam
from ._sdk_clients import LOCAL_KEY, stand_back
from ._threads import start_thread
from ._time import monotonic, sleep
from .config import TracingConfig

_CREATING = Seam("preparing the Langfuse client")
_FLUSHING = Seam("flushing the Langfuse client")
_LOOK_SECONDS = 0.02
_SCORES_SECONDS = 10.0
"""How long the SDK may take for its scores, which know no deadline of their own."""


def imported() -> bool:
    """Whether the program has imported langfuse, and to the end.

    We never import it ourselves while the program runs: importing the same packages in two threads at once can
    deadlock, and Python would then break the import of the program.
    """
    module = sys.modules.get("langfuse")
    return module is not None and (_importing.is_over or not getattr(module.__spec__, "_initializing", False))


class _Importing:
    """Stands on `sys.meta_path` from a run's start until the program imports langfuse, to have a client ready at once.

    A node may import langfuse and use it in its next line. It takes itself away first, and leaves nothing on the module.
    """

    def __init__(self) -> None:
        self.is_over = False  # langfuse is as good as imported: the last thing that its import does is to call us
        self._waiting: list[Callable[[], None]] = []

    def then(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` when langfuse has been imported, in the thread that imports it."""
        if prepare not in self._waiting:
            self._waiting.append(prepare)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """What Python asks each finder for; ours finds what the others do."""
        if name != "langfuse":
            return None
        with _CREATING:
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            loader: Any = spec.loader if spec is not None else None
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                del loader.exec_module
                execute(module)
                self.is_over = True
                for prepare in self._waiting:
                    with _CREATING:
                        prepare()
                self._waiting.clear()

            loader.exec_module = exec_module
            return spec
        return None


_importing = _Importing()
when_imported = _importing.then


def instances() -> dict[str, Any]:
    """The clients of this process by public key; empty when langfuse has not been imported."""
    if not imported():
        return {}
    manager = sys.modules.get("langfuse._client.resource_manager")
    found: dict[str, Any] = getattr(getattr(manager, "LangfuseResourceManager", None), "_instances", {})
    return found


_unprepared: WeakValueDictionary[int, SdkClient] = WeakValueDictionary()


def _prepare_all() -> None:
    for found in _unprepared.valuerefs():
        client = found()
        if client is not None:
            client.prepare()
    _unprepared.clear()


_asking: WeakValueDictionary[str, SdkClient] = WeakValueDictionary()
"""Of several objects for one project, by its public key, the one that asks the SDK's client at every flush."""


class SdkClient:
    """The SDK client of one project: the user's, or one of ours.

    Args:
        config: resolved, with both keys.
        submit: takes (gzip of an OTLP request, number of spans) of what our client exports.
    """

    def __init__(self, config: TracingConfig, submit: Callable[[bytes, int], None]) -> None:
        self._config = config
        self._submit = submit
        self._lock = threading.RLock()
        self._asked = self._answered = 0  # how often the program's own client was to export what it holds, and has
        self._exported = True  # whether it could, the last time
        self._is_exporting = False  # whether a thread is at it
        self._exporter: Any = None  # of the client that we made
        self._made: Any = None  # its resources
        self._joined: Any = None  # the program's tracer provider that our client listens to as well
        self._processors: list[Any] = []  # its span processors, at its own provider
        self._forwarders: list[Any] = []  # and at the one that the program has set since
        self.is_handed_out = False  # the program has it

    @property
    def resources(self) -> Any:
        """What the SDK keeps of this project's client, None when there is no client."""
        return instances().get(str(self._config.langfuse_public_key))

    @property
    def is_ours(self) -> bool:
        """Whether the client is one that we made."""
        resources = self.resources
        return resources is not None and self._exporter is not None and resources.span_exporter is self._exporter

    @property
    def is_the_one(self) -> bool:
        """Whether nobody else asks the client of this project at a flush for what it holds."""
        key = str(self._config.langfuse_public_key)
        return self.resources is not None and _asking.setdefault(key, self) is self

    @property
    def mask(self) -> Callable[..., Any] | None:
        """The mask of the user's client, None when there is none."""
        found: Callable[..., Any] | None = getattr(self.resources, "mask", None)
        return found

    @property
    def mask_spans(self) -> Callable[..., Any] | None:
        """The `mask_otel_spans` of the user's client, None when there is none."""
        found: Callable[..., Any] | None = getattr(self.resources, "mask_otel_spans", None)
        return found

    def prepare(self) -> None:
        """Have a client ready before user code asks for one; called where a run begins.

        It takes some tens of milliseconds, once, and only in a program that has imported langfuse: there the SDK would take
        them at its first generation. What the SDK makes by itself would know no keys that stand only in `.env` or in
        the config, and would lose what it cannot deliver.
        """
        if not imported():
            _unprepared[id(self)] = self
            when_imported(_prepare_all)
            return
        with _CREATING:
            if self.resources is None:
                self._create()
            elif self._exporter is not None:
                self._join()

    def hand_out(self) -> None:
        """The program asks for a client and gets ours: where the SDK would now set the process's tracer provider, ours is set.

        Not before: it is the program's to set, and one that never asks may do so later. The SDK's lock is held.
        """
        if self.is_handed_out:
            return
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        provider = self.resources.tracer_provider
        if provider is not None and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(provider)
        self._join()
        self.is_handed_out = True

    def give_way(self) -> None:
        """A client of the program takes the place of ours, which takes nothing more from the process's tracer provider.

        It still exports what it has taken, and what comes through a provider of its own.
        """
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        forgotten = list(self._forwarders)
        if self._made.tracer_provider is trace.get_tracer_provider():
            forgotten += self._processors
        for processor in forgotten:
            _sdk_spans.silence(processor)

    def hand_over(self, deadline: float) -> bool:
        """Have the client that we made hand over to us what it holds, scores included."""
        return self._made is None or _exported(self._made, self._processors, deadline)

    def begin_flush(self) -> None:
        """Have the program's own client export what it holds.

        On a thread of its own, one at a time: the SDK's exporter keeps to no deadline but the one of its requests.
        """
        resources = None if self.is_ours else self.resources
        with self._lock:
            self._asked += resources is not None
            if self._asked > self._answered and not self._is_exporting:
                self._is_exporting = start_thread(self._export, "pocketflow-tracing-flush", resources) is not None

    def wait(self, deadline: float) -> bool:
        """Wait for what `begin_flush` has begun, until the deadline of `time.monotonic`; it takes no lock, see `Sender.wait`."""
        asked = self._asked
        while self._answered < asked and (left := deadline - monotonic()) > 0:
            sleep(min(left, _LOOK_SECONDS))
        return self._answered >= asked and self._exported

    def _export(self, resources: Any) -> None:
        while True:
            with self._lock:
                asked = self._asked
                if self._answered >= asked:
                    self._is_exporting = False
                    return
            self._exported = _exported(resources, _processors(resources), monotonic() + _SCORES_SECONDS)
            self._answered = asked

    def abandon(self) -> None:
        """Forget a lock that another thread may have held when this process was forked, and that thread."""
        self._lock = threading.RLock()
        self._asked = self._answered
        self._is_exporting = False

    def _create(self) -> None:
        from langfuse import Langfuse  # noqa: PLC0415 - imported already
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        with self._lock:
            if self.resources is None:
                arguments = self._config.to_langfuse_kwargs()
                process_wide = trace.get_tracer_provider()
                if isinstance(process_wide, trace.ProxyTracerProvider) or _sdk_spans.is_ours(process_wide):
                    # the process's global provider stays the program's to set, which the SDK would do, or is another project's
                    arguments["tracer_provider"] = _sdk_spans.make_provider(self._config)
                self._exporter = _sdk_spans.make_exporter(self._config, self._submit)
                self._exporter.made_by = self
                self.is_handed_out = False
                stand_back()
                Langfuse(**arguments, span_exporter=self._exporter)
        if self.is_ours:
            self._made = self.resources
            self._processors = _processors(self._made)
            _asking[str(self._config.langfuse_public_key)] = self  # nobody else knows what we made
            atexit.unregister(self._made.shutdown)  # it would wait for a dead server

    def _join(self) -> None:
        # a provider that the program has set since: what instrumentations record there belongs to the project as well
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        provider = trace.get_tracer_provider()
        resources = self.resources
        add = getattr(provider, "add_span_processor", None)
        known = provider is self._joined or provider is resources.tracer_provider
        if add is None or known or _sdk_spans.is_ours(provider) or not self.is_ours:
            return
        self._joined = provider
        for processor in self._processors:
            forwarder = _sdk_spans.make_forwarder(processor)
            self._forwarders.append(forwarder)
            add(forwarder)


def _processors(resources: Any) -> list[Any]:
    """The client's own span processor, among those of the provider it may share with others."""
    multi = getattr(resources.tracer_provider, "_active_span_processor", None)
    found = getattr(multi, "_span_processors", ())
    return [item for item in found if getattr(item, "public_key", None) == resources.public_key]


def _exported(resources: Any, processors: list[Any], deadline: float) -> bool:
    with _FLUSHING:
        exported = True
        for processor in processors:
            exported = processor.force_flush(max(1, int((deadline - monotonic()) * 1000))) and exported
        return _scores_sent(resources, deadline) and exported
    return False


def _scores_sent(resources: Any, deadline: float) -> bool:
    # langfuse 5 and 4 name it differently; `Queue.join` knows no deadline
    queue = getattr(resources, "_score_queue", None) or getattr(resources, "_score_ingestion_queue", None)
    if queue is None:
        return True
    for consumer in getattr(resources, "_score_consumers", ()):
        getattr(consumer, "wake", int)()  # it gathers for a second otherwise
    with queue.all_tasks_done:
        sent: bool = queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, max(0.0, deadline - monotonic()))
    return sent


def local_client() -> None:
    """Let `@observe` and `langfuse.openai` record without an account, for the local store.

    Without credentials the SDK records nothing at all. So where the program has imported langfuse and has no client, a
    stand-in is put in its place that exports nothing and answers every request with 401, without a network. It gives
    way as soon as the program makes a client of its own, and outside of runs it is not there.
    """
    if not imported() or dict.__len__(instances()):
        return
    import httpx  # noqa: PLC0415 - langfuse has imported it
    from langfuse import Langfuse  # noqa: PLC0415 - imported already

    refuse = httpx.MockTransport(
        lambda _: httpx.Response(401, json={"message": "no Langfuse credentials are configured"})
    )
    stand_back()
    Langfuse(
        public_key=LOCAL_KEY,
        secret_key="none",  # noqa: S106 - not a secret: there is none
        base_url="http://localhost",
        httpx_client=httpx.Client(transport=refuse),
        tracer_provider=_sdk_spans.make_provider(None),
        span_exporter=_sdk_spans.make_exporter(None, lambda _body, _spans: None),
    )
    resources = instances().get(LOCAL_KEY)
    if resources is not None:
        atexit.unregister(resources.shutdown)


def decoded(value: Any) -> Any:
    """A value out of an attribute text: what is JSON is decoded, everything else is the text."""
    if type(value) is not str or value[:1] not in '{["0123456789-tfn':
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
