"""The Langfuse SDK in this process: the client that generations inside nodes go through.

A client that the user made with settings for the same project is theirs: it is used, its masks are honoured, it is never shut
down. Where there is none when a run begins, one is made, with an exporter that leads into our delivery, so that generations
are as safe from outages as the spans around them; one that the SDK has made where the program said nothing of how is led
there as well. langfuse is never imported here before the program has imported it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from . import _sdk_disabled, _sdk_providers, _sdk_spans
from ._forks import unforked
from ._guard import Seam
from ._sdk_clients import forget, says_nothing, stand_back
from ._sdk_flush import Client, Flushes, Left
from ._sdk_import import imported, when_imported
from ._sdk_ours import OurClient, Way
from ._sdk_said import SAYS_NOTHING, said_by
from ._sdk_spans import Former
from ._weak import Remembered
from .config import TracingConfig

_CREATING = Seam("preparing the Langfuse client")
_ENDING = Seam("ending the Langfuse client of a project that nobody uses")
_MOST_RESTING = 16
"""Clients of projects that nobody uses any more, and that may be used again: each has threads of its own."""


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


_resting: list[SdkClient] = []
"""Whose sinks were let go of, and whose clients we made and the program never had; the longest first."""

_known = Remembered()

_asking: WeakValueDictionary[str, SdkClient] = WeakValueDictionary()
"""Of several objects for one project, by its public key, the one that asks the SDK's client at every flush."""


class SdkClient:
    """The SDK client of one project: the user's, or one of ours.

    Args:
        config: resolved, with both keys.
        way: where a client of ours leads to.
    """

    def __init__(self, config: TracingConfig, way: Way) -> None:
        self._config = config
        self._way = way
        self._ours = OurClient(config, way)
        _known.add(self)
        self._lock = threading.RLock()
        self._flushes = Flushes()
        self._joined: Any = None  # the program's tracer provider that our client listens to as well
        self._forwarders: list[Any] = []  # what leads there from the one that the program has set since
        self._has_former = False  # whether some were there when the last flush began
        self.is_handed_out = False  # the program has it
        self._cannot_be_made = False
        self._heard: Any = None  # the resources of the client whose words these are:
        self.says = SAYS_NOTHING  # what the program's own client says of the project

    @property
    def resources(self) -> Any:
        """What the SDK keeps of this project's client, None when there is no client."""
        return instances().get(str(self._config.langfuse_public_key))

    @property
    def is_ours(self) -> bool:
        """Whether the client is one that we made."""
        resources = self.resources
        return (
            resources is not None and self._ours.exporter is not None and resources.span_exporter is self._ours.exporter
        )

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
        with _CREATING:
            if not imported():
                _unprepared[id(self)] = self
                when_imported(_prepare_all)
                return
            resources = self.resources
            if _resting:
                self._wake(resources)
            if resources is None and not self._cannot_be_made:
                self._create()
                resources = self.resources  # another thread may have asked for one meanwhile
            if self._ours.exporter is not None:
                self._join()
            if resources is not self._heard:
                self._heard, self.says = resources, said_by(resources)
                if resources is not None and self._ours.exporter is None and self._may_take_over(resources):
                    self._take_over(resources)

    def hand_out(self) -> None:
        """The program asks for a client and gets ours, which records from now on where the SDK's would: at its tracer provider.

        Where it has none, and the SDK would now set one, ours is set. Not before: it is the program's to set, and one that
        never asks may do so later. The SDK's lock is held.
        """
        if self.is_handed_out:
            return
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        resources = self.resources
        if resources.tracer_provider is not None:
            if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
                trace.set_tracer_provider(resources.tracer_provider)
            self._join()
            if self._joined is trace.get_tracer_provider():  # the program's, set after our client was made
                _sdk_providers.move(resources, self._joined)
        self.is_handed_out = True

    def give_way(self, provider: Any) -> None:
        """A client of the program takes the place of ours, which takes nothing more from the process's tracer provider.

        It still exports what it has taken, and what comes through a provider of its own. Where the program has ours, records
        with it, and has made the other one for a provider of its own, nobody else would take that: ours stays as it is.

        Args:
            provider: of that client.
        """
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        if self.is_handed_out and provider is not trace.get_tracer_provider():
            return
        forgotten = list(self._forwarders)
        if self._ours.resources.tracer_provider is trace.get_tracer_provider():
            forgotten += self._ours.processors
        for processor in forgotten:
            _sdk_spans.silence(processor)

    def hand_over(self, deadline: float) -> bool:
        """Have the client that we made hand over to us the spans that it holds, and make them ready."""
        return self._ours.hand_over(deadline)

    @property
    def unready(self) -> int:
        """Spans that our client has exported, and that have not been made ready to be sent."""
        return len(self._ours.unready)

    def tick(self) -> float | None:
        """Take and make ready some spans; returns seconds until there is more to do, None where nothing waits."""
        return self._ours.tick()

    def give_up(self) -> int:
        """Let go of what cannot be made ready any more, at the end of the process; returns how many spans that are."""
        return self._ours.unready.give_up()

    @property
    def may_rest(self) -> bool:
        """Whether nothing comes through the client any more, should nobody use its project.

        Neither has the program got it, nor does a provider of the program's lead to it, nor has another object its project.
        """
        key = self._config.langfuse_public_key
        return (
            self.is_ours
            and not (self.is_handed_out or self._forwarders or any(self._ours.left))
            and all(other is self or other.public_key != key for other in _known)
        )

    @property
    def public_key(self) -> str | None:
        """Of its project."""
        return self._config.langfuse_public_key

    def rest(self) -> None:
        """Nobody uses the project any more, for now: of many such clients those that rest longest are ended."""
        if self.may_rest and self not in _resting:
            _resting.append(self)
            while len(_resting) > _MOST_RESTING:
                client = _resting.pop(0)
                if client.may_rest and not client.unready:  # else it has woken up
                    client.end()

    def _wake(self, resources: Any) -> None:
        """Take over the client of a project that has rested, which may be another object's."""
        for client in list(_resting):
            if resources is not None and client.resources is resources:
                _resting.remove(client)
                self._ours = client.give_away()
                self._ours.exporter.made_by = self
                self._ours.lead_to(self._config, self._way)

    def give_away(self) -> OurClient:
        """Give the client that we made to another object of its project."""
        given, self._ours = self._ours, OurClient(self._config, self._way)
        return given

    def end(self) -> None:
        """End the client that we made, which holds nothing any more."""
        ours = self.give_away()
        with _ENDING:
            if forget(str(self._config.langfuse_public_key), ours.resources):
                ours.resources.shutdown()
                _sdk_spans.end(ours.resources, ours.processors)

    def begin_flush(self) -> None:
        """Have the project's clients send what they send by themselves: scores and media, and the spans of the program's own."""
        theirs, made = self.resources, self._ours.resources
        clients = []
        if theirs is not None and theirs is not made:
            clients.append(Client(theirs, _sdk_providers.exporting(theirs), Former()))
        if made is not None and any(self._ours.left):  # one of the program's may have taken its place since
            clients.append(Client(made, [], self._ours.former))
        self._has_former = self._ours.left.spans > 0
        if clients:
            self._flushes.begin(clients)
        else:
            self._flushes.pass_over()

    @property
    def left(self) -> Left:
        """What the client which we made sends by itself and has not sent yet: nobody else waits for it."""
        return self._ours.left

    def wait(self, deadline: float) -> bool:
        """Wait for what `begin_flush` has begun, until the deadline of `time.monotonic`."""
        return self._flushes.wait(deadline) and (not self._has_former or self._ours.is_safe(deadline))

    def abandon(self) -> None:
        """Forget locks that another thread may have held when this process was forked."""
        self._lock = threading.RLock()
        self._flushes.abandon()
        self._ours.unready.abandon()

    def _create(self) -> None:
        from langfuse._client.client import Langfuse  # noqa: PLC0415 - imported already; a test may have put a mock in `langfuse`
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        with unforked(), self._lock:  # the SDK holds a lock of its own meanwhile, and imports modules
            if self.resources is None:
                arguments = self._config.to_langfuse_kwargs()
                provider = trace.get_tracer_provider()
                if not hasattr(provider, "add_span_processor") or _sdk_providers.is_ours(provider):
                    # there is none yet, and it stays the program's to set, or it takes no processors, or is another project's
                    provider = _sdk_providers.make_provider(self._config)
                ahead: Any = _sdk_providers.Ahead(provider, self._ours.take)
                exporter = self._ours.make_exporter(self)
                self.is_handed_out = False
                _sdk_disabled.take()
                stand_back()
                self._cannot_be_made = True  # should it raise: not with every run, a thread of the SDK's each time
                try:
                    Langfuse(**arguments, tracer_provider=ahead, span_exporter=exporter)
                    self._cannot_be_made = False
                finally:
                    if self.is_ours:
                        self._own()
                    else:  # another thread was first, and the SDK has handed out that one
                        self.give_away()

    def _may_take_over(self, resources: Any) -> bool:
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        by_itself = resources.tracer_provider is trace.get_tracer_provider()  # where the SDK is told of no other one
        return by_itself and says_nothing(resources, self._config.langfuse_secret_key, self._config.langfuse_host)

    def _take_over(self, resources: Any) -> None:
        """Make a client ours that the program has asked for before its first run, and that the SDK has made for it."""
        with unforked(), self._lock:
            processors = _sdk_providers.own_processors(resources)
            if self._ours.exporter is not None or len(processors) != 1:
                return
            if not self._ours.take_over(processors[0], resources, self):
                return
            self.is_handed_out = True
            stand_back()
            self._own()
            self._way.wake()  # the worker sees to what waits there

    def _own(self) -> None:
        self._ours.own(self.resources)
        _asking[str(self._config.langfuse_public_key)] = self  # nobody else knows what is ours

    def _join(self) -> None:
        # a provider that the program has set since: what instrumentations record there belongs to the project as well
        from opentelemetry import trace  # noqa: PLC0415 - imported already

        provider = trace.get_tracer_provider()
        resources = self.resources
        if resources is None:  # another thread is just making it
            return
        known = provider is self._joined or provider is resources.tracer_provider
        if not hasattr(provider, "add_span_processor") or known or _sdk_providers.is_ours(provider) or not self.is_ours:
            return
        self._joined = provider
        for processor in self._ours.processors:
            forwarder = _sdk_providers.make_forwarder(processor)
            self._forwarders.append(forwarder)
            _sdk_providers.add(provider, forwarder)


def record_without_account(make_processor: Callable[[], Any]) -> None:
    """Let `@observe` and `langfuse.openai` record without an account, for the local store.

    Args:
        make_processor: of the span processor that sees what they record.
    """
    if imported():
        _sdk_disabled.record(make_processor)
        _sdk_disabled.take()
        stand_back()
