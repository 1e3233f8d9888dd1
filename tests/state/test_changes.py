"""Differences between values: exact, strict about JSON's types, and small where little changed."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketflow_tracing import _changes
from pocketflow_tracing._changes import apply, difference, same

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, 0.5]) | st.text("ab", max_size=3)
)


def containers(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=5),
        max_leaves=25,
    )


values = containers(scalars)


def canonical(value):
    return json.dumps(value, sort_keys=True)


@given(values, values)
def test_a_difference_leads_to_the_new_value(old, new):
    """Applied to the old value, the difference gives the new one exactly; neither is touched."""
    before = copy.deepcopy((old, new))
    change = difference(old, new)
    assert canonical(new) == canonical(apply(old, json.loads(json.dumps(change))))
    assert canonical(before) == canonical((old, new))


@given(st.lists(st.integers(0, 5), max_size=80), st.lists(st.integers(0, 5), max_size=80))
def test_lists_of_few_values(old, new):
    """Lists that align in many wrong ways are rebuilt all the same."""
    assert new == apply(old, difference(old, new))


@given(st.text("ab", max_size=900), st.text("ab", max_size=900), st.text("ab", max_size=20))
def test_long_texts(head, tail, middle):
    """So are texts with overlapping beginnings and ends."""
    assert head + middle + tail == apply(head + tail, difference(head + tail, head + middle + tail))


@given(containers(scalars | st.builds(float, st.just("nan"))), values)
def test_same_is_what_json_writes(one, other):
    """Two values are the same exactly when JSON writes them alike, in any order of keys; NaN is like any other NaN."""
    assert (canonical(one) == canonical(other)) is same(one, other)
    assert same(one, json.loads(json.dumps(one)))
    assert not same([one, 1, float("nan")], [one, True, float("nan")])


def test_values_with_nan_are_walked_through_once(monkeypatch):
    """On each level again, two pictures of arrays with gaps took a quarter of a second, deep inside of `shared`."""
    walk, walks = _changes._differ_in_nan, []
    monkeypatch.setattr(_changes, "_differ_in_nan", lambda *pair: walks.append(pair) or walk(*pair))

    def picture():
        value = [float("nan")] * 3
        for _ in range(10):
            value = {"inside": value, "beside": [1, "text"]}
        return value

    assert same(picture(), picture())
    assert 10 + 1 + 3 == len(walks)


@pytest.mark.parametrize(("old", "new"), [(0, False), (1, True), (1, 1.0), (0.0, -0.0)])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"a": [{"b": x}]}])
def test_equal_values_of_another_type_differ(old, new, wrap):
    """What Python calls equal and JSON does not is a change, nested as well."""
    assert not same(wrap(old), wrap(new))
    assert canonical(wrap(new)) == canonical(apply(wrap(old), difference(wrap(old), wrap(new))))


LONG = [{"role": "user", "content": f"message {number} " * 20} for number in range(60)]


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        (LONG, [*LONG, {"role": "x"}], [{"path": [], "at": 60, "removed": 0, "added": [{"role": "x"}]}]),
        (LONG, LONG[:58], [{"path": [], "at": 58, "removed": 2, "added": []}]),
        (LONG, LONG[2:], [{"path": [], "at": 0, "removed": 2, "added": []}]),
        (
            {"messages": LONG, "count": 1},
            {"messages": [*LONG[:3], {**LONG[3], "role": "tool"}, *LONG[4:]], "count": 2},
            [{"path": ["messages", 3, "role"], "old": "user", "new": "tool"}, {"path": ["count"], "old": 1, "new": 2}],
        ),
        ({"a": LONG, "x": 1}, {"a": LONG, "y": 2}, [{"path": ["x"], "removed": True}, {"path": ["y"], "added": 2}]),
        ("a" * 300 + "b" * 300, "a" * 300 + "c" + "b" * 300, [{"path": [], "at": 300, "removed": 0, "added": "c"}]),
    ],
)
def test_forms(old, new, steps):
    """Each form of a step, as it stands in a record."""
    assert {"inside": steps} == difference(old, new)
    assert new == apply(old, difference(old, new))


def window(items, most=10):
    if len(items) <= most:
        return items
    half = most // 2
    return [*items[: most - half], f"… {len(items) - most:,} more items", *items[-half:]]


@pytest.mark.parametrize("size", [3, 9, 10, 11, 12, 15, 30, 1000])
@pytest.mark.parametrize("come", [1, 2, 7])
def test_a_window_that_moves_on(size, come):
    """Entries appended to a list that is shown by its head and tail cost what they are, not the window."""
    items = [{"text": f"{number} " + "long " * 50} for number in range(size + come)]
    old, new = window(items[:size]), window(items)
    change = difference(old, new)
    assert new == apply(old, change)
    assert len(json.dumps(change)) < 150 * (come + 2) + 300 * min(come + 1, 5) + 300


def test_small_changes_of_small_values_stand_whole():
    """Where the places would take more than the values, the values stand there."""
    assert {"old": [1], "new": [2]} == difference([1], [2])
    assert {"old": 1, "new": "one"} == difference(1, "one")
    assert {"old": {"a": 1}, "new": [1]} == difference({"a": 1}, [1])


def test_many_changes_stand_whole():
    """A value that changed everywhere is not listed place by place."""
    assert "old" in difference([float(n) for n in range(100)], [n + 0.5 for n in range(100)])
    assert "old" in difference({str(n): n for n in range(200)}, {str(n): n + 1 for n in range(200)})


@pytest.mark.parametrize("other", [None, [], "text", {"a": 1}, [1, [2]]])
def test_a_change_of_another_value(other):
    """A change that was made from another value is refused, never a strange result."""
    change = {"inside": [{"path": [7, "x"], "old": 1, "new": 2}]}
    with pytest.raises(ValueError, match="another value"):
        apply(other, change)


def test_types_are_noted_once_not_for_every_place(monkeypatch):
    """Where 0 became false all over a list of equal entries, no entry is walked through for each other one."""
    walks = []
    alike = _changes._alike
    monkeypatch.setattr(_changes, "_alike", lambda one, other: walks.append(1) or alike(one, other))
    old = [{"__type__": "C", **{f"f{n}": 0 for n in range(30)}} for _ in range(64)]
    new = [{**entry, "f29": False} for entry in old]
    change = difference(old, new)
    assert canonical(new) == canonical(apply(old, change))
    assert len(walks) < 2 * 64 + 10
