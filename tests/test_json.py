"""JSON of large values: the same as in one piece, with a breath between the pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketflow_tracing import _json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=40,
)


@given(VALUES, st.sampled_from([0, 10, 100_000]))
def test_it_is_what_json_makes(value, large):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json, "_LARGE", large)
        assert json.dumps(value, ensure_ascii=False, separators=(",", ":")) == _json.encode(value)


def test_large_values_are_made_in_pieces(monkeypatch):
    """Fifty documents, or a thousand numbers in a list below; small ones are made at once, with a breath between them."""
    breaths = []
    monkeypatch.setattr(_json, "breathe", lambda: breaths.append(1))
    _json.encode({"documents": [{"text": "x" * 1000}] * 50})
    assert len(breaths) == 1
    breaths.clear()
    _json.encode({"documents": [{"text": "x" * 20_000}] * 50})
    assert len(breaths) > 50
    breaths.clear()
    _json.encode([[1] * 1000])
    assert len(breaths) > 1


@pytest.mark.parametrize("value", [{"a": object()}, [float]])
def test_what_is_no_json_is_an_error(value):
    with pytest.raises(TypeError):
        _json.encode(value)


@given(VALUES, st.sampled_from([0, 100_000]), st.sampled_from([None, 0, 2]))
def test_it_is_read_as_json_reads_it(value, large, indent):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json, "_LARGE", large)
        assert value == _json.decode(f" {json.dumps(value, indent=indent)}\n")


@pytest.mark.parametrize(
    "text", ["", "[", "[1,]", '{"a"}', '{"a":}', "[1] 2", "nul", '["a', "[[[[[[tru]]]]]]", "\ufeff1"]
)
@pytest.mark.parametrize("large", [0, 100_000])
def test_a_text_that_is_no_json_is_an_error(text, large, monkeypatch):
    monkeypatch.setattr(_json, "_LARGE", large)
    with pytest.raises(ValueError):
        _json.decode(text)


def test_large_texts_are_read_in_pieces(monkeypatch):
    """The documents of an answer, one by one."""
    breaths = []
    monkeypatch.setattr(_json, "breathe", lambda: breaths.append(1))
    documents = {"documents": [{"text": "x" * 1000}] * 200}
    assert documents == _json.decode(json.dumps(documents))
    assert len(breaths) > 200
