"""The SDK's registry of clients, in which those that we made do not stand in the way of the program's."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ._forks import in_forked_child
from ._guard import Seam, is_hosts
from ._sdk_providers import Ahead
from ._system import variable
from .recorder import current, span_of

_HANDING_OUT = Seam("handing out the Langfuse client")


class _Clients(dict[str, Any]):
    """The registry, as the SDK asks it.

    With several clients in it, the SDK's `get_client()` answers with none. So it sees those that it would see untraced,
    the ones that the program has made or been given. Where there are none, it sees ours: in a run that of the run's
    project. And in a run whose config names its project, it sees ours of that one in any case.

    A client for a project of which we have made one is ours again, as the SDK has it, unless it says what may leave the
    process, or is the first one that the program has of the project and is not made as ours is: that one takes its place.
    """

    def __contains__(self, key: object) -> bool:
        asking = sys._getframe(1)  # noqa: SLF001 - who asks: the SDK, before it makes a client, with all that it was given
        known = self.get(str(key))
        if known is None or asking.f_code.co_name != "__new__" or not _is_ours(known):
            return dict.__contains__(self, key)
        given = asking.f_locals
        with _HANDING_OUT:
            # `get_client()` repeats what ours was made with, its exporter included
            is_repeated = getattr(given.get("span_exporter"), "of_pocketflow_tracing", False)
            if not is_repeated and _is_another(given, known):
                return False
            # with a client of its own the program would get that one untraced, whatever the environment says
            is_asked_for = _is_of_the_environment(known) and all(map(_is_ours, dict.values(self)))
            if not _is_theirs(known) and (not is_repeated or is_asked_for):
                with given["cls"]._lock:  # noqa: SLF001 - the SDK's lock for it
                    known.span_exporter.made_by.hand_out()
        return True

    def __setitem__(self, key: str, client: Any) -> None:
        before = self.get(key)
        super().__setitem__(key, client)
        with _HANDING_OUT:
            if isinstance(provider := client.tracer_provider, Ahead):  # of ours, before anybody looks at it
                provider.step_aside(client)
            if before is not None and _is_ours(before):
                before.span_exporter.made_by.give_way(client.tracer_provider)
            for prepare in AFTER_MAKING:
                prepare()

    def _seen(self) -> list[Any]:
        theirs = [client for client in dict.values(self) if _is_theirs(client)]
        span = span_of(current.get())
        if span is not None:
            config, sends = span.run.pipeline.config, span.run.pipeline.langfuse is not None
            if not sends:
                return theirs
            client = self.get(str(config.langfuse_public_key))
            if client is not None and _is_ours(client) and (not theirs or config.is_named("langfuse_public_key")):
                return [client]
        if theirs:
            return theirs
        ours = list(dict.values(self))
        by_itself = [client for client in ours if _is_of_the_environment(client)]  # what the SDK makes a client for
        return by_itself if _environment() else ours

    def __len__(self) -> int:
        return len(self._seen())

    def values(self) -> list[Any]:  # type: ignore[override]
        return self._seen()


AFTER_MAKING: list[Callable[[], None]] = []
"""Called when a client has been made."""

_WHAT_LEAVES = ("mask", "mask_otel_spans", "should_export_span", "span_exporter")
_NO_SETTINGS = ("cls", "instance", "public_key")
_KEPT = (
    "mask", "mask_otel_spans", "should_export_span", "span_exporter", "additional_headers", "environment", "release", "timeout",
    "sample_rate", "flush_at", "flush_interval", "media_upload_thread_count", "otel_compression", "id_generator",
    "blocked_instrumentation_scopes", "_custom_httpx_client",
)  # fmt: skip
"""Settings of a client that the SDK keeps, of langfuse 4 and 5."""


def _is_another(given: Mapping[str, Any], known: Any) -> bool:
    """Whether a client that is to be made with what is given has to be the program's own, and not the one of ours."""
    if any(given.get(name) for name in _WHAT_LEAVES):
        return True
    if known.span_exporter.made_by.is_handed_out:
        return False  # nor would the SDK look at the settings of a second client
    unsaid = _unsaid()  # ours may know better, from `.env` or a config
    return any(
        value is not None and _bare(value) not in (_bare(getattr(known, name, None)), _bare(unsaid.get(name)))
        for name, value in given.items()
        if name not in _NO_SETTINGS
    )


def says_nothing(resources: Any, secret_key: str | None, base_url: str | None) -> bool:
    """Whether the program has only asked for a client, and said nothing of how it is to be made.

    Args:
        resources: what the SDK keeps of it.
        secret_key: of the project, as we know it.
        base_url: of its server, likewise.
    """
    unsaid = _unsaid()
    return (
        resources.tracing_enabled
        and resources.secret_key == secret_key
        and _bare(resources.base_url) == _bare(base_url)
        and all((value := getattr(resources, name, None)) is None or value == unsaid.get(name) for name in _KEPT)
    )


def _unsaid() -> dict[str, Any]:
    """What the SDK fills in where the program says nothing."""
    return {
        "secret_key": variable("LANGFUSE_SECRET_KEY") or None,
        "base_url": variable("LANGFUSE_BASE_URL") or variable("LANGFUSE_HOST", "https://cloud.langfuse.com"),
        "environment": variable("LANGFUSE_TRACING_ENVIRONMENT") or None,
        "timeout": _number(int, variable("LANGFUSE_TIMEOUT", "5")),
        "sample_rate": _number(float, variable("LANGFUSE_SAMPLE_RATE", "1.0")),
    }


def _number(kind: Callable[[str], float], text: str) -> float | None:
    """What the SDK reads; None where it cannot, and makes no client unless the program says what it is."""
    try:
        return kind(text)
    except ValueError as error:
        if is_hosts(error):
            raise
        return None


def _bare(value: Any) -> Any:
    return value.rstrip("/") if isinstance(value, str) else value


def _is_ours(resources: Any) -> bool:
    return getattr(resources.span_exporter, "of_pocketflow_tracing", False) is True


def _is_theirs(resources: Any) -> bool:
    """Whether the program would have it untraced as well."""
    return not _is_ours(resources) or getattr(resources.span_exporter.made_by, "is_handed_out", False)


def _environment() -> str | None:
    """The project that the SDK would make a client for by itself, None where it has no keys."""
    names = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
    return variable(names[0]) if all(name in os.environ for name in names) else None


def _is_of_the_environment(resources: Any) -> bool:
    return bool(resources.public_key == _environment())


def stand_back() -> None:
    """Let the SDK see our clients only where it should."""
    from langfuse._client.resource_manager import LangfuseResourceManager  # noqa: PLC0415 - imported already

    with LangfuseResourceManager._lock:  # noqa: SLF001 - the SDK's lock for it
        clients = LangfuseResourceManager._instances  # noqa: SLF001 - where `get_client` looks
        if type(clients) is not _Clients:
            LangfuseResourceManager._instances = _Clients(clients)  # noqa: SLF001 - as above


def forget(public_key: str, resources: Any) -> bool:
    """Take a client of ours out of the registry, unless another one stands there; True when it was there."""
    from langfuse._client.resource_manager import LangfuseResourceManager  # noqa: PLC0415 - imported already

    with LangfuseResourceManager._lock:  # noqa: SLF001 - the SDK's lock for it
        clients = LangfuseResourceManager._instances  # noqa: SLF001 - where `get_client` looks
        if resources is None or clients.get(public_key) is not resources:
            return False
        del clients[public_key]
        return True


def _give_back_lock() -> None:
    """In a forked child: another thread of the parent may have been making a client, of the program's own."""
    module = sys.modules.get("langfuse._client.resource_manager")
    manager: Any = getattr(module, "LangfuseResourceManager", None)
    if manager is not None:
        manager._lock = threading.RLock()  # noqa: SLF001 - as the SDK does itself where a client is there


in_forked_child(_give_back_lock)
