"""What a decorator says of the runs of a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import _log
from ._attributes import merge, tags_of, text_of
from ._guard import Seam
from ._settings_kinds import shown
from ._travelling import arrived, is_plain, taken_along

if TYPE_CHECKING:
    from ._pipeline import Pipeline
    from .config import TracingConfig

_GIVEN = ("session_id", "user_id", "tags", "metadata")
_ABOUT_VALUES = (
    *("enabled", "trace_inputs", "trace_outputs", "trace_errors"),
    *("redact", "redact_defaults", "mask", "serializers", "policies"),
)
"""Settings that say what is recorded and what is not."""
_COMPARING = Seam("comparing the settings of a flow with those of the trace that it joins")
_EVALUATING = {
    name: Seam(f"evaluating the {name} that trace_flow was given as a function", theirs=True) for name in _GIVEN
}


class _Given:
    """Where an `Options` holds what it is given: not in a class of its own `__slots__`, which others walk through."""

    __slots__ = (
        "__weakref__", "config", "environment", "evaluated", "flow_name", "has_joined", "heir", "lender", "metadata",
        "pipeline", "session_id", "tags", "user_id", "version",
    )  # fmt: skip


class Options(_Given):
    """The parameters of one `trace_flow`, with a copy of its config.

    Copying an Options gives the same object, so that copies of a marked flow stay marked alike; pickling it keeps what is plain,
    and of the config what `_travelling` takes along. What walks through the attributes of a marked flow (`vars`, `__slots__`,
    `dataclasses.asdict`), as the Langfuse SDK does with the arguments of an `@observe` function, finds nothing in it.
    """

    __slots__ = ()

    def __init__(
        self,
        config: TracingConfig | None = None,
        flow_name: str | None = None,
        session_id: str | Callable[[Any], Any] | None = None,
        user_id: str | Callable[[Any], Any] | None = None,
        tags: Iterable[str] | Callable[[Any], Any] | None = None,
        metadata: Mapping[str, Any] | Callable[[Any], Any] | None = None,
        version: str | None = None,
        environment: str | None = None,
        pipeline: Pipeline | None = None,
    ) -> None:
        self.config = config
        self.session_id, self.user_id, self.metadata = session_id, user_id, metadata
        self.version, self.environment = version, environment
        self.pipeline = pipeline  # of `config`, resolved at the first run
        self.heir: tuple[TracingConfig, Options] | None = None  # the last that `with_config_of` has made
        self.lender: Options | None = None  # whose config this is, and its pipeline
        self.has_joined = False  # whether a flow of it has run inside another trace
        self.evaluated: tuple[Mapping[str, Any], dict[str, Any]] | None = None  # where nothing is a function
        self.flow_name = text_of(flow_name)
        if flow_name is not None and self.flow_name is None:
            _log.warn_once(
                f"flow_name is {shown(flow_name)}; accepted: a text. The name of the class or function is used in its place."
            )
        # an iterator would be empty at the second run
        self.tags = tags_of(tags) if tags is not None and not callable(tags) else tags

    def __copy__(self) -> Options:
        return self

    def __deepcopy__(self, memo: object) -> Options:
        return self

    def differs(self, other: Options) -> bool:
        """Whether the name, ids and tags given are not those of the other one, as far as plain values show it."""
        return any(
            type(mine) is type(theirs) and type(mine) in {str, list} and mine != theirs
            for mine, theirs in ((getattr(self, name), getattr(other, name)) for name in ("flow_name", *_GIVEN))
        )

    def with_config_of(self, before: Options | None) -> Options:
        """These, with the config of those that held before where there is none of their own: what was hidden stays hidden.

        Args:
            before: what the flow, or its class, was marked with.
        """
        if self.config is not None or before is None or before.config is None:
            return self
        made = self.with_config(before.config, before.pipeline)
        made.lender = before
        return made

    def with_config(self, config: TracingConfig, pipeline: Pipeline | None) -> Options:
        """These, with another config, and its pipeline if it has been resolved."""
        heir = self.heir  # another thread may want another one
        if heir is None or heir[0] is not config:
            made = Options(config, self.flow_name, self.session_id, self.user_id, self.tags, self.metadata)
            made.version, made.environment, made.pipeline = self.version, self.environment, pipeline
            heir = self.heir = config, made
        return heir[1]

    def resolve(self, pipeline: Pipeline) -> None:
        """Keep the pipeline that was made of the config, for all that have it: one takes a millisecond to make."""
        self.pipeline = pipeline
        if self.lender is not None and self.lender.pipeline is None:
            self.lender.resolve(pipeline)

    def says_nothing(self) -> bool:
        """Whether nothing was given."""
        given = (self.config, self.flow_name, self.version, self.environment, *(getattr(self, name) for name in _GIVEN))
        return all(value is None for value in given)

    def __reduce__(self) -> tuple[Any, ...]:
        from .frameworks import pocketflow as framework  # noqa: PLC0415 - it imports this module

        config = framework.completed(self).config
        named = {name: getattr(self, name) for name in ("flow_name", "version", "environment", *_GIVEN)}
        plain = {name: value for name, value in named.items() if value is not None and is_plain(value)}
        return _unpickle, (plain,) if config is None else (plain, *taken_along(config.resolved()))


def _unpickle(
    plain: dict[str, Any], given: dict[str, Any] | None = None, packed: dict[str, bytes | None] | None = None
) -> Options:
    from . import _marks  # noqa: PLC0415 - they import this module
    from .frameworks import pocketflow as framework  # noqa: PLC0415

    framework.install()  # a flow that comes from another process is the first marked one here
    config = None if given is None else arrived(given, packed or {})
    options = Options(config, **plain)
    _marks.keep(options)
    return options


def say_whose_config_holds(options: Options, of_the_run: TracingConfig) -> None:
    """Say, once, which settings of a flow or node do not hold inside another trace: what is hidden alone is shown there.

    Args:
        options: of the flow, with a config.
        of_the_run: the config of the trace that it joins.
    """
    if options.has_joined or options.config is None:
        return
    options.has_joined = True
    with _COMPARING:
        own = options.config.resolved()
        names = [name for name in _ABOUT_VALUES if own.is_named(name) and _differ(own, of_the_run, name)]
        if names:
            _log.warn_once(
                f"A flow or node with settings of its own ({', '.join(names)}) runs inside another trace, where those of the "
                "outermost flow hold and not these. Give them to that one as well, or to all by the environment.",
                elsewhere=True,
            )


def _differ(own: TracingConfig, other: TracingConfig, name: str) -> bool:
    one, two = getattr(own, name), getattr(other, name)
    if name == "serializers":  # pairs, for a metaclass may compare classes in its own way
        return [*map(id, [*one, *one.values()])] != [*map(id, [*two, *two.values()])]
    return one is not two if name == "mask" else bool(one != two)


def evaluate(options: Options, shared: Any, farther: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a decorator at one run's start.

    Args:
        options: of the decorator; its functions are asked, and one that fails is left out.
        shared: what the run is given.
        farther: what the configuration says.

    Returns:
        Those of the decorator merged over those of the configuration, a dict of the caller's own.
    """
    known = options.evaluated
    if known is not None and known[0] is farther:
        return {**known[1]}
    values: dict[str, Any] = {"version": options.version, "environment": options.environment}
    constant = options.metadata is None  # a dict that is changed between two runs says of each what it said then
    for name in _GIVEN:
        value = getattr(options, name)
        if callable(value):
            constant = False
            with _EVALUATING[name]:
                # one at a time through `merge`, so that an answer that cannot be used spoils only itself
                values.update(merge({name: value(shared)}, {}))
        else:
            values[name] = value
    merged = merge(values, farther)
    if constant:
        options.evaluated = farther, {**merged}
    return merged
