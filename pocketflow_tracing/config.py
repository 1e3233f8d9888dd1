# ruff: noqa: RUF009 (`setting` makes a dataclass field)
"""`TracingConfig`: what is recorded, where it goes and what it may cost.

Each setting is declared once, as a field; the environment variables, `.env.example`, the table in the README and
`doctor` are made from that declaration. A value given in Python wins over the environment, the environment over the
nearest `.env` file, and that over the default.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pocketflow_tracing import _settings_kinds as kinds
from pocketflow_tracing import _system
from pocketflow_tracing._guard import Tolerating
from pocketflow_tracing._settings import Setting, SettingRow, Settings, resolved_first, setting, settings_of

__all__ = ["SETTINGS", "SettingRow", "TracingConfig"]


@dataclass(kw_only=True, repr=False)
class TracingConfig(Settings):
    """The settings of tracing.

    What is not given here is taken from the environment and the nearest `.env` file when it is first needed. A bad
    value never raises: the default is used, and `problems()` says so. A decorator takes a copy.
    """

    # Langfuse
    langfuse_public_key: str | None = setting(
        kinds.PUBLIC_KEY, None, "The public key of your Langfuse project.", "LANGFUSE_PUBLIC_KEY", secret=True
    )
    langfuse_secret_key: str | None = setting(
        kinds.SECRET_KEY,
        None,
        "The secret key of your Langfuse project; it is never shown.",
        "LANGFUSE_SECRET_KEY",
        secret=True,
    )
    langfuse_host: str = setting(
        kinds.URL, "https://cloud.langfuse.com", "Where Langfuse is.", "LANGFUSE_BASE_URL", "LANGFUSE_HOST"
    )
    traces_path: str = setting(
        kinds.TEXT,
        "/api/public/otel/v1/traces",
        "Where at that address spans go, of a gateway that has them elsewhere.",
        "LANGFUSE_OTEL_TRACES_EXPORT_PATH",
    )
    langfuse_enabled: bool = setting(
        kinds.BOOL, True, "Sends to Langfuse where there are keys.", "LANGFUSE_TRACING_ENABLED"
    )
    environment: str | None = setting(
        kinds.ENVIRONMENT,
        None,
        'The environment that runs belong to, such as "production".',
        "LANGFUSE_TRACING_ENVIRONMENT",
    )
    release: str | None = setting(kinds.TEXT, None, "The release of your program.", "LANGFUSE_RELEASE")
    sample_rate: float = setting(
        kinds.RATE,
        1.0,
        "The share of runs that is recorded; a run is recorded whole or not at all.",
        "LANGFUSE_SAMPLE_RATE",
    )
    timeout: float = setting(kinds.SECONDS, 5, "Seconds that one request to Langfuse may take.", "LANGFUSE_TIMEOUT")

    # What is recorded
    enabled: bool = setting(kinds.BOOL, True, "Traces at all; false is the kill switch.", "POCKETFLOW_TRACING_ENABLED")
    debug: bool = setting(
        kinds.BOOL, False, "Explains on the log what is traced, sent and stored.", "POCKETFLOW_TRACING_DEBUG"
    )
    trace_inputs: bool = setting(kinds.BOOL, True, "Records inputs, wherever they appear.", "POCKETFLOW_TRACE_INPUTS")
    trace_outputs: bool = setting(
        kinds.BOOL, True, "Records outputs, wherever they appear.", "POCKETFLOW_TRACE_OUTPUTS"
    )
    trace_prep: bool = setting(kinds.BOOL, True, "Records a span for each prep.", "POCKETFLOW_TRACE_PREP")
    trace_exec: bool = setting(kinds.BOOL, True, "Records a span for each exec and attempt.", "POCKETFLOW_TRACE_EXEC")
    trace_post: bool = setting(kinds.BOOL, True, "Records a span for each post.", "POCKETFLOW_TRACE_POST")
    trace_errors: bool = setting(
        kinds.BOOL,
        True,
        "Records messages and tracebacks of errors; without it only the status.",
        "POCKETFLOW_TRACE_ERRORS",
    )
    session_id: str | None = setting(kinds.TEXT, None, "The session that runs belong to.", "POCKETFLOW_SESSION_ID")
    user_id: str | None = setting(kinds.TEXT, None, "The user that runs belong to.", "POCKETFLOW_USER_ID")
    tags: tuple[str, ...] | list[str] = setting(kinds.TAGS, (), "Tags of every run.")
    metadata: dict[str, Any] = setting(kinds.MAPPING, {}, "Metadata of every run.")
    version: str | None = setting(kinds.TEXT, None, "The version of your flow.")

    # Privacy
    redact: tuple[str, ...] = setting(
        kinds.NAMES, (), "More key names whose values are hidden, separated by commas.", "POCKETFLOW_TRACE_REDACT"
    )
    redact_defaults: bool = setting(
        kinds.BOOL, True, "False replaces the built-in list of hidden key names by `redact`."
    )
    mask: Callable[..., Any] | None = setting(
        kinds.MASK, None, "A function of value and path whose result is recorded in place of the value."
    )
    serializers: dict[type, Callable[[Any], Any]] = setting(
        kinds.SERIALIZERS, {}, "How values of your types are recorded: type to function."
    )
    policies: dict[str, str] = setting(
        kinds.POLICIES,
        {},
        'What is recorded of a value, by pattern ("documents", "prep_res", "NodeClass.exec_res", "NodeClass", '
        '"class:Customer"): "record", "summarise" or "hide".',
    )
    media: bool = setting(
        kinds.BOOL,
        True,
        "Sends images, audio and PDFs to Langfuse as media.",
        "POCKETFLOW_TRACE_MEDIA",
        "LANGFUSE_MEDIA_UPLOAD_ENABLED",
    )
    media_max_mb: float = setting(
        kinds.MEGABYTES, 10, "Megabytes of the largest medium that is sent.", "POCKETFLOW_TRACE_MEDIA_MAX_MB"
    )

    # Limits of one recorded value
    max_items: int = setting(kinds.COUNT, 100, "Items recorded of one list or dict.", "POCKETFLOW_TRACE_MAX_ITEMS")
    max_elements: int = setting(
        kinds.COUNT, 2_000, "Elements recorded of one value, all levels together.", "POCKETFLOW_TRACE_MAX_ELEMENTS"
    )
    max_depth: int = setting(kinds.DEPTH, 12, "Levels recorded of a nested value.", "POCKETFLOW_TRACE_MAX_DEPTH")
    max_text: int = setting(kinds.COUNT, 65_536, "Characters recorded of one text.", "POCKETFLOW_TRACE_MAX_TEXT")
    max_total_text: int = setting(
        kinds.COUNT,
        1_000_000,
        "Characters recorded of one value, all texts together.",
        "POCKETFLOW_TRACE_MAX_TOTAL_TEXT",
    )
    max_run_mb: float = setting(
        kinds.MEGABYTES,
        256,
        "Megabytes recorded of the values of one run, about; after that their type and size.",
        "POCKETFLOW_TRACE_MAX_RUN_MB",
    )

    # Store and delivery
    store: str = setting(
        kinds.STORE,
        "auto",
        'The file of the local store; "auto" is .pocketflow/traces.db in the working directory, "off" keeps none.',
        "POCKETFLOW_TRACE_STORE",
    )
    store_max_runs: int = setting(
        kinds.COUNT, 10_000, "Runs kept in the store; the oldest go first.", "POCKETFLOW_TRACE_STORE_MAX_RUNS"
    )
    store_max_mb: float = setting(
        kinds.MEGABYTES, 1_024, "Megabytes of the store; the oldest runs go first.", "POCKETFLOW_TRACE_STORE_MAX_MB"
    )
    queue_size: int = setting(kinds.COUNT, 100_000, "Spans that may wait in memory.", "POCKETFLOW_TRACE_QUEUE_SIZE")
    queue_mb: float = setting(kinds.MEGABYTES, 128, "Megabytes that may wait in memory.", "POCKETFLOW_TRACE_QUEUE_MB")
    outbox_spans: int = setting(
        kinds.COUNT,
        1_000_000,
        "Spans that may wait on disk until Langfuse can be reached.",
        "POCKETFLOW_TRACE_OUTBOX_SPANS",
    )
    outbox_mb: float = setting(
        kinds.MEGABYTES,
        256,
        "Megabytes that may wait on disk until Langfuse can be reached.",
        "POCKETFLOW_TRACE_OUTBOX_MB",
    )
    flush_interval: float = setting(
        kinds.SECONDS, 0.5, "Seconds between two deliveries.", "POCKETFLOW_TRACE_FLUSH_INTERVAL"
    )
    shutdown_timeout: float = setting(
        kinds.SECONDS_OR_ZERO,
        2.0,
        "Seconds that the end of the process may wait for delivery.",
        "POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT",
    )

    @classmethod
    def from_env(cls, env_file: str | os.PathLike[str] | None = None) -> TracingConfig:
        """Return the settings of the environment and a `.env` file; `os.environ` stays as it is.

        Args:
            env_file: the `.env` file; None takes the nearest one, from the working directory upward.
        """
        return cls().resolved(env_file)

    @resolved_first
    def problems(self) -> list[str]:
        """Return a sentence for each setting that cannot be used as it is: its name, its value, what is accepted."""
        problems = [
            sentence.partition(" The default,")[0] + " Nothing is sent to Langfuse."
            if name == "langfuse_host" and not self._has_address
            else sentence
            for name, sentence in self._problems.items()
        ]
        keys = ("langfuse_public_key", "langfuse_secret_key")
        for missing, there in (keys, keys[::-1]):
            if getattr(self, there) and not getattr(self, missing) and missing not in self._problems:
                problems.append(
                    f"{SETTINGS[missing].env[0]} is not set, but {SETTINGS[there].env[0]} is; "
                    "accepted: both or neither. Nothing is sent to Langfuse."
                )
        return problems

    @property
    def _has_address(self) -> bool:
        """Whether no address was given that cannot be used: data for one server goes to no other."""
        return "langfuse_host" not in self._problems or self._sources["langfuse_host"] != "default"

    @property
    @resolved_first
    def has_langfuse(self) -> bool:
        """Whether both keys are there, and an address that can be used."""
        return bool(self.langfuse_public_key and self.langfuse_secret_key) and self._has_address

    def is_named(self, name: str) -> bool:
        """Whether a setting of a resolved config was given in Python, and not found in the environment or `.env`."""
        return self._sources[name] == "argument"

    @resolved_first
    def to_langfuse_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments for `langfuse.Langfuse`, of those that all its versions from 4.12 to 5 take.

        `debug` is not among them: the SDK's debug mode configures the logging of the whole process.
        """
        arguments = {
            "public_key": self.langfuse_public_key,
            "secret_key": self.langfuse_secret_key,
            "base_url": self.langfuse_host,
            "timeout": max(1, math.ceil(self.timeout)),  # whole seconds there
            "environment": self.environment,
            "release": self.release,
            "sample_rate": self.sample_rate or 5e-324,  # langfuse 4 takes 0 for "not given" and would send everything
        }
        return {name: value for name, value in arguments.items() if value is not None}

    @resolved_first
    def outside_of_runs(self) -> TracingConfig:
        """Return what holds for what a program records itself: this config's project, and else what was not given in Python."""
        kept = {name for name in SETTINGS if name in _OF_THE_PROJECT or not self.is_named(name)}
        return TracingConfig(**{name: getattr(self, name) for name in kept}).resolved()

    @resolved_first
    def store_path(self) -> str | None:
        """Return the absolute path of the store file, None where the store is off.

        A folder stands for `traces.db` in it.
        """
        if self.store == "off":
            return None
        from pathlib import Path  # noqa: PLC0415 (costs milliseconds at import)

        path = f".pocketflow{os.sep}traces.db"
        if self.store != "auto":
            path = _system.expanduser(self.store)
        with Tolerating(OSError):  # the working directory was removed, no right to look
            path = _system.absolute(path)
            if _system.is_dir(path):
                path = f"{path}{os.sep}traces.db"
        return str(Path(path))


_OF_THE_PROJECT = ("langfuse_public_key", "langfuse_secret_key", "langfuse_host", "traces_path", "timeout", "queue_mb")
SETTINGS: dict[str, Setting] = settings_of(TracingConfig)
"""Every setting by the name of its field, in the order of the documentation."""
