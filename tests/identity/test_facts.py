"""Tracing is the identity: each fact of PocketFlow holds traced as it does untraced."""

from __future__ import annotations

import cases
import kit
import pytest
from kit import observe

HOWS = ("object", "class", "instrument", "function")
PAIRS = [
    *[(case, flavour) for case in cases.CASES for flavour in ("sync", "async", "parallel")],
    *[(case, "sync") for case in cases.SYNC],
    *[(case, flavour) for case in cases.ASYNC for flavour in ("async", "parallel")],
]
RUNS = [
    pytest.param(*pair, id=f"{pair[0].__name__}-{pair[1]}", marks=[pytest.mark.absorbs] * hasattr(pair[0], "absorbs"))
    for pair in PAIRS
]


@pytest.mark.parametrize(("case", "flavour"), RUNS)
def test_traced_as_untraced(case, flavour, records):
    """What can be seen from outside is the same in every way of tracing, and the records are whole."""
    untraced = observe(case, "untraced", flavour)
    assert untraced.error is None or issubclass(untraced.error["type"], getattr(case, "leaves", ())), untraced.error
    for how in HOWS:
        records.clear()
        traced = observe(case, how, flavour)
        assert not list(kit.first_difference(traced, untraced)), how
        if not hasattr(case, "absorbs"):
            records.check(sync=False)


@pytest.mark.parametrize("how", HOWS)
def test_something_is_traced_in_each_way(how, records):
    """The comparison above compares with runs that are recorded."""
    for flavour in ("sync", "async", "parallel"):
        records.clear()
        observe(cases.a_copy_for_each_visit, how, flavour)
        assert len(records.spans(kind="node")) == 3


@pytest.mark.absorbs
@pytest.mark.parametrize(("case", "flavour"), RUNS)
def test_with_sinks_that_raise(case, flavour, fresh_delivery):
    """The same with a sink whose every method raises."""
    kit.use(kit.Raising())
    assert not list(kit.first_difference(observe(case, "object", flavour), observe(case, "untraced", flavour)))


@pytest.mark.parametrize(("case", "flavour"), RUNS)
def test_where_there_is_no_room(case, flavour, records):
    """The same where the queue is full: runs, visits, phases and passes are left out."""
    untraced = observe(case, "untraced", flavour)
    for room in ([True], [True, False], [False, False, True]):
        with kit.full(room):
            assert not list(kit.first_difference(observe(case, "object", flavour), untraced)), room
