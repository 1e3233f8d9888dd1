"""The SDK's registry of clients, in which those that we made do not stand in the way of the program's."""

from __future__ import annotations

import os
import sys
from typing import Any

from ._guard import Seam
from .recorder import current, span_of

_HANDING_OUT = Seam("handing out the Langfuse client")

LOCAL_KEY = "pocketflow-tracing-local"
"""Public key of the client that stands in where there are no credentials; nothing of it leaves the process."""


class _Clients(dict[str, Any]):
    """The registry, as the SDK asks it.

    With several clients in it, the SDK's `get_client()` answers with none. So inside a run it sees the client of the
    run's project, if that is ours, and else the program's own clients; ours only where the program has none.

    A client for a project of which we have made one is ours again, as the SDK has it, unless it says what may leave the
    process: that one takes the place of ours.
    """

    def __contains__(self, key: object) -> bool:
        asking = sys._getframe(1)  # noqa: SLF001 - who asks: the SDK, before it makes a client, with all that it was given
        known = self.get(str(key))
        if known is None or asking.f_code.co_name != "__new__" or not _is_ours(known):
            return dict.__contains__(self, key)
        given = asking.f_locals
        exporter = given.get("span_exporter")
        is_repeated = getattr(
            exporter, "of_pocketflow_tracing", False
        )  # by `get_client()`, with what ours was made with
        if not is_repeated and (exporter is not None or any(given.get(name) for name in _THEIR_OWN_SAY)):
            return False
        if not is_repeated or _is_of_the_environment(known):
            with _HANDING_OUT, given["cls"]._lock:  # noqa: SLF001 - the SDK's lock for it
                known.span_exporter.made_by.hand_out()
        return True

    def _seen(self) -> list[Any]:
        own = [client for client in dict.values(self) if not _is_ours(client)]
        span = span_of(current.get())
        if span is not None:
            pipeline = span.run.pipeline
            has_project = pipeline.langfuse is not None
            client = self.get(str(pipeline.config.langfuse_public_key) if has_project else LOCAL_KEY)
            if client is not None and _is_ours(client) and (has_project or not own):
                return [client]
        return own or [client for key, client in self.items() if key != LOCAL_KEY]

    def __len__(self) -> int:
        return len(self._seen())

    def values(self) -> list[Any]:  # type: ignore[override]
        return self._seen()


_THEIR_OWN_SAY = ("mask", "mask_otel_spans", "should_export_span")


def _is_ours(resources: Any) -> bool:
    return getattr(resources.span_exporter, "of_pocketflow_tracing", False) is True


def _is_of_the_environment(resources: Any) -> bool:
    """Whether it is for the keys that the SDK would find, and make a client with, by itself."""
    public, secret = (os.environ.get(f"LANGFUSE_{name}_KEY") for name in ("PUBLIC", "SECRET"))
    return public == resources.public_key and secret is not None


def stand_back() -> None:
    """Let the SDK see our clients only where it should."""
    from langfuse._client.resource_manager import LangfuseResourceManager  # noqa: PLC0415 - imported already

    with LangfuseResourceManager._lock:  # noqa: SLF001 - the SDK's lock for it
        clients = LangfuseResourceManager._instances  # noqa: SLF001 - where `get_client` looks
        if type(clients) is not _Clients:
            LangfuseResourceManager._instances = _Clients(clients)  # noqa: SLF001 - as above
