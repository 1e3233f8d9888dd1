"""References whose callbacks are C's: what has gone is taken out by the next who comes, whichever thread that is."""

from __future__ import annotations

import gc

from pocketflow_tracing._weak import Alive, Gone, Remembered


class Thing:
    """Something that can be referred to."""


class Unhashable(dict):
    """As OpenTelemetry's contexts are."""


def test_what_is_alive_is_counted():
    """Each once, as long as it is there."""
    alive, things = Alive(), [Thing(), Thing()]
    for thing in [*things, things[0]]:
        alive.add(thing)
    del thing
    assert 2 == len(alive)
    things.pop()
    assert 1 == len(alive)
    things.clear()
    assert not alive


def test_what_is_remembered_is_what_is_there():
    """Also of what cannot be hashed; nothing is left of the others."""
    remembered, kept = Remembered(), [Unhashable(a=1)]
    remembered.add(kept[0])
    for _ in range(100):
        remembered.add(Unhashable())
    gc.collect()
    remembered.add(kept[0])
    assert [kept[0]] == list(remembered)
    assert 1 == len(remembered._refs)


def test_entries_of_what_has_gone_are_taken_out():
    """Not the one that another object has under its key by now: ids come again."""
    gone, first, second, third = Gone(), Thing(), Thing(), Thing()
    entries = {1: (gone.watch(first, 1), "first"), 2: (gone.watch(second, 2), "second")}
    del first, second
    entries[2] = (gone.watch(third, 2), "third")
    gone.sweep(entries)
    assert {2: "third"} == {key: entry[1] for key, entry in entries.items()}


def test_two_threads_that_take_out_at_once():
    """One is quicker; what came in between stays."""

    class Taken(list):
        def pop(self):
            self.clear()
            return super().pop()

    class Replaced(dict):
        def get(self, key, default=None):
            found = super().get(key, default)
            self[key] = (new, "new")
            return found

    gone, thing, new = Gone(), Thing(), object()
    entries = Replaced({1: (gone.watch(thing, 1), "old")})
    del thing
    gone.sweep(entries)
    assert {1: (new, "new")} == dict(entries)
    gone._gone = Taken([1])
    gone.sweep(entries)
    assert {1: (new, "new")} == dict(entries)
