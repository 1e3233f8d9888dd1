"""What holds for every value: tried with random ones."""

from __future__ import annotations

import collections
import copy
import json
import math
import pickle
import string
import time
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kit import examples

from pocketflow_tracing import render as render_module
from pocketflow_tracing.capture import Limits, snapshot
from pocketflow_tracing.capture_types import Again, Cut, Elided, Failure, Long, Note, Pairs, Tagged, Unread
from pocketflow_tracing.redaction import Rules, redact_text
from pocketflow_tracing.redaction_data import scan_value
from pocketflow_tracing.render import render


def error(args) -> ValueError:
    """An error whose dict is there already: Python makes it when it is first asked for, which pickle shows."""
    made = ValueError(*args)
    assert not vars(made)
    return made


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=40)
    | st.binary(max_size=40)
)
MORE = (
    SCALARS
    | st.decimals()
    | st.fractions()
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([5000]).map(lambda n: 10**n)
)
KEYS = st.text(max_size=8) | st.integers() | st.tuples(st.integers(), st.text(max_size=3)) | st.booleans() | st.none()
VALUES = st.recursive(
    MORE,
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(KEYS, inner, max_size=8)
        | st.dictionaries(st.text(string.ascii_letters + "_-…", max_size=6), inner, max_size=8)
        | st.lists(inner, max_size=5).map(tuple)
        | st.lists(inner, max_size=5).map(collections.deque)
        | st.dictionaries(KEYS, inner, max_size=5).map(collections.OrderedDict)
        | st.sets(SCALARS.filter(lambda v: v == v), max_size=5)
        | st.lists(inner, max_size=4).map(error)
        | st.dictionaries(st.text("ab", min_size=1, max_size=3), inner, max_size=5).map(
            lambda d: types.SimpleNamespace(**d)
        )
        | st.lists(st.integers(-5, 5), max_size=20).map(np.array)
        | st.lists(st.floats(), max_size=8).map(lambda items: pd.Series(items, dtype="float64"))
    ),
    max_leaves=60,
)
LIMITS = st.builds(
    Limits,
    max_items=st.integers(1, 10),
    max_elements=st.integers(1, 60),
    max_depth=st.integers(1, 5),
    max_text=st.integers(4, 100),
)
HITS = Rules().redact.hits
PROFILE = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def entries(taken) -> int:
    """Count what a snapshot shows, without the marks for what it does not."""
    if type(taken) is list:
        return sum(1 + entries(item) for item in taken if type(item) is not Cut)
    if type(taken) is dict:
        return sum(1 + entries(item) for item in taken.values() if type(item) is not Cut)
    if type(taken) in {Tagged, Failure}:
        inner = taken.fields.get("items")
        return (
            entries(inner)
            if type(inner) is list
            else entries({k: v for k, v in taken.fields.items() if k not in {"value", "maxlen"}})
        )
    if type(taken) is Pairs:
        return sum(1 + entries(row[0]) + entries(row[1]) for row in taken.rows if type(row) is not Cut)
    return 0


def is_plain(taken) -> bool:
    t = type(taken)
    if t in {Tagged, Failure, Pairs}:
        return type(taken.type_name) is str and is_plain(taken[1])
    if t is dict:
        return all(type(key) is str and is_plain(item) for key, item in taken.items())
    if t is list:
        return all(map(is_plain, taken))
    return t in {type(None), bool, int, float, str, bytes, Again, Cut, Elided, Long, Note, Unread}


@PROFILE
@given(VALUES)
def test_a_record_is_valid_json_and_encodes(value):
    shown = render(snapshot(value), Rules())
    json.dumps(shown, allow_nan=False)
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()


@PROFILE
@given(VALUES, LIMITS)
@example([error([1e14])], Limits(max_text=4))
def test_a_snapshot_is_plain_and_within_its_budget(value, limits):
    taken = snapshot(value, limits)
    assert is_plain(taken)
    assert entries(taken) <= limits.max_elements
    json.dumps(render(taken, Rules(limits=limits)), allow_nan=False)


@PROFILE
@given(VALUES)
def test_reading_twice_gives_the_same_and_leaves_the_value_as_it_was(value):
    before = pickle.dumps(value)
    first = json.dumps(render(snapshot(value), Rules()))
    assert pickle.dumps(value) == before
    assert json.dumps(render(snapshot(value), Rules())) == first
    assert json.dumps(render(snapshot(copy.copy(value)), Rules())) == first


@PROFILE
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
        lambda i: st.lists(i) | st.dictionaries(st.text("xyz", max_size=3), i),
        max_leaves=30,
    )
)
def test_json_data_is_shown_as_it_is(value):
    no_rules = Rules(limits=Limits(max_depth=100))
    assert render(snapshot(value, no_rules.limits), no_rules) == value


@PROFILE
@given(VALUES, st.sampled_from(["raise", "same", "other"]))
def test_any_mask_gives_valid_json(value, does):
    def mask(shown, path):
        json.dumps([shown, path], allow_nan=False)
        if does == "raise":
            raise ValueError
        return shown if does == "same" else {"secret": object(), 3: [float("nan")]}

    json.dumps(render(snapshot(value), Rules(mask=mask)), allow_nan=False)


LABELS = [
    group.split()
    for group in (
        "index_names index head value",
        "columns headers data rows values",
        "statement params netloc",
        "name key Value value domain path",
        "token logprob token_str",
        "loc input type items password value",
    )
]
BESIDE = st.sampled_from(
    [None, 3, "password", "x", ["password"], ("password", 1), [["a", "password"]], [{"name": "password"}], {"type": "str"}, {}, []]
)  # fmt: skip
LABELLED = (
    st.sampled_from(LABELS)
    .flatmap(lambda group: st.lists(st.sampled_from(group), min_size=2))
    .flatmap(lambda keys: st.fixed_dictionaries(dict.fromkeys(keys, BESIDE)))
)


@PROFILE
@given(LABELLED)
def test_words_that_may_say_what_others_are_are_the_users_too(value):
    """Nothing in a value of a user's may be taken for what we make of a frame or header; an error here would be absorbed."""
    json.dumps(render_module._Rendering(Rules()).value(snapshot(value), ()))


@PROFILE
@given(st.text(st.sampled_from("sk-_ghpAKIA:=\"' \\abc@/eyJ.tokenBearer \n"), max_size=400))
def test_free_text_of_any_form_is_redacted_without_failing(text):
    once = redact_text(text, Rules())
    assert isinstance(once, str)
    assert isinstance(scan_value(text, Rules().redact.hits), str)


@pytest.mark.parametrize(
    "piece",
    [
        "sk-",
        "eyJ",
        "a=",
        "token=",
        "api_key: '",
        "://a:",
        "Bearer ",
        "-----BEGIN PRIVATE KEY-----",
        '\\"',
        "x_",
        "a.",
        " :",
        "ghp_",
        "authorization: ",
        "aA",
        "=a",
        "?token=a",
        '"token": {',
        '"token":"',
        "A_TOKEN=",
        "x-token: ",
        "Cookie: ",
        "password=",
        "pwd=,",
        ":token=a",
        "/token=a",
        " password=a",
        "&token=a;",
        "password: |\n x\n",
        "<key>token</key><string>",
        '"value":"a","name":',
        "('token', '",
        '"token": ["',
        '"token": "\\"',
        '"token": "\\\\',
        '"value":"\\"token":',
        '{"name":"token","value":[',
        "name: token, value: ",
        'token: a[b] = "',
        '"token": """',
        "secrets:\n",
        " secrets:\n",
        "secrets:\n- a\n",
        "token: [",
        "[token]\n",
        "[token]\nx\n",
        "<token>",
        "<token><a>",
        "<token> </a>",
        ' value="a" name="token"',
        ' value="',
        'password: "\n',
        "password: a\n ",
        "- value: a\n",
        "[SQL: ",
        "secret:\n    a    b    c    d\n  \n",
        "[parameters: ",
        "[SQL: token [parameters: ",
        "[SQL: token [parameters: x]\n",
        'token={\\\\\\\\"',
        'token={\\\\\\\\"}\n',
    ],
)
@pytest.mark.parametrize("end", ["", "|"])
@pytest.mark.parametrize("search", [lambda text: redact_text(text, Rules()), lambda text: scan_value(text, HITS)])
def test_redaction_takes_time_linear_in_the_text(piece, end, search):
    def seconds(count):
        text = piece * count + end
        begin = time.thread_time()  # not what other processes take meanwhile
        search(text)
        return time.thread_time() - begin

    small = large = math.inf
    for _ in range(8):  # the best of eight counts, for a busy machine has cold caches
        small, large = min(small, seconds(5_000)), min(large, seconds(50_000))
        if large < max(25 * small, 0.05):
            return
    pytest.fail(f"{small} s for a text, {large} s for one of ten times its length")
