"""Times, sizes and counts as people read them."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from pocketflow_tracing.cli import words
from pocketflow_tracing.cli.output import print_json
from pocketflow_tracing.store.filters import parse_age

MS, S = 1_000_000, 1_000_000_000


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (None, ""),
        (0, "<0.1 ms"),
        (60_000, "0.1 ms"),
        (9_940_000, "9.9 ms"),
        (9_960_000, "10 ms"),
        (999 * MS, "999 ms"),
        (999_600_000, "1.00 s"),
        (59_990 * MS, "59.99 s"),
        (59_999 * MS, "1 m 00 s"),
        (123 * S, "2 m 03 s"),
        (3720 * S, "1 h 02 m"),
    ],
)
def test_durations(ns, expected):
    """A duration has three digits that mean something, in the unit that a person would choose."""
    assert expected == words.duration(ns)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0, "$0.00"),
        (0.00042, "$0.00042"),
        (0.0123, "$0.012"),
        (0.5, "$0.50"),
        (1234.5, "$1,234.50"),
        (1e-12, "$0.000000000"),
    ],
)
def test_money(cost, expected):
    """Small costs keep two digits that mean something."""
    assert expected == words.money(cost)


@pytest.mark.parametrize(("number", "expected"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB")])
def test_sizes(number, expected):
    """Bytes in decimal units."""
    assert expected == words.size(number)


def test_controls_cannot_steer_the_terminal():
    """Escapes, C1 controls and direction overrides stand as text; line breaks and tabs stay."""
    assert "\\x1b[31m \\x9b \\u202e\n\tü" == words.clean("\x1b[31m \x9b \u202e\n\tü")
    assert '{"a": "\\u001b"}' == words.compact({"a": "\x1b"})


def test_json_cannot_either(capsys):
    """It stays JSON, and is what it was for the program that reads it."""
    value = {"\x9b a": ["\u202e\u2028\n\x1b", "ü"]}
    print_json(value)
    printed = capsys.readouterr().out
    assert value == json.loads(printed)
    assert printed == words.clean(printed)


@pytest.mark.parametrize(
    ("text", "ns"), [("2h", 7200), ("30m", 1800), ("1.5d", 129_600), (" 45S ", 45), ("1w", 604_800)]
)
def test_ages(text, ns):
    """An age counts back from now."""
    assert 10**18 - ns * S == parse_age(text, 10**18)


def test_dates():
    """A date is local, a time may carry its zone."""
    assert int(datetime.fromisoformat("2026-05-31").astimezone().timestamp() * 1e9) == parse_age("2026-05-31", 0)
    assert 1_780_000_000 * S == parse_age("2026-05-28T20:26:40Z", 0)


@pytest.mark.parametrize("text", ["", "soon", "2", "h", "2026-13-01", "1e5d", f"{'9' * 400}d", "200000d", "0001-01-01"])
def test_no_time(text):
    """What is no time is said with examples of what is."""
    with pytest.raises(ValueError, match="is no time: give an age such as"):
        parse_age(text, 0)
