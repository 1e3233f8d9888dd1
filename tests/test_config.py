"""`TracingConfig`: where each value comes from, and what happens to bad ones."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from unittest import mock

import dotenv
import pytest

from pocketflow_tracing import _settings_kinds as kinds
from pocketflow_tracing._settings_env import read_env_file
from pocketflow_tracing.config import SETTINGS, TracingConfig

PUBLIC = "pk-lf-11111111-2222-3333-4444-55555555abcd"
SECRET = "sk-lf-66666666-7777-8888-9999-00000000dcba"

BOOL = [
    (text, value) for value, texts in ((True, "1 true YES On"), (False, "0 False no OFF")) for text in texts.split()
]
COUNT = [("1", 1), ("1000", 1000), (" 7 ", 7)]
BAD_NUMBERS = ["nan", "inf", "-1", "many", "1e400", "1,5"]

ACCEPTED = {
    kinds.BOOL: [*BOOL, ("  tRuE ", True)],
    kinds.TEXT: [("v1", "v1"), (" größe 漢字 ", "größe 漢字")],
    kinds.PUBLIC_KEY: [(PUBLIC, PUBLIC), ("pk-lf-test", "pk-lf-test"), ("lf_pk_1234567890", "lf_pk_1234567890")],
    kinds.SECRET_KEY: [(SECRET, SECRET), ("sk-lf-test", "sk-lf-test")],
    kinds.URL: [("http://localhost:3000/", "http://localhost:3000"), ("HTTPS://lf.example/x", "HTTPS://lf.example/x")],
    kinds.ENVIRONMENT: [("prod-eu_1", "prod-eu_1"), ("a" * 40, "a" * 40)],
    kinds.RATE: [("0", 0.0), ("0.25", 0.25), ("1", 1.0)],
    kinds.SECONDS: [("0.1", 0.1), ("30", 30.0)],
    kinds.SECONDS_OR_ZERO: [("0", 0.0), ("1.5", 1.5)],
    kinds.MEGABYTES: [("0.5", 0.5), ("2048", 2048.0)],
    kinds.COUNT: COUNT,
    kinds.DEPTH: [("1", 1), ("100", 100)],
    kinds.STORE: [("OFF", "off"), ("no", "off"), ("0", "off"), ("Auto", "auto"), ("1", "auto"), ("~/t.db", "~/t.db")],
    kinds.NAMES: [("ssn, iban ,", ("ssn", "iban"))],
}
REFUSED = {
    kinds.BOOL: ["maybe", "2", "truee", "-1", "None"],
    kinds.TEXT: ["two\nlines", "a\x1bb"],
    kinds.PUBLIC_KEY: ["your-public-key", "pk-lf-...", "<public key>", "pk-lf-xxxx-xxxx", "changeme", SECRET],
    kinds.SECRET_KEY: ["your-secret-key", "sk-lf-...", "YOUR_LANGFUSE_SECRET_KEY", "sk-…", PUBLIC],
    kinds.URL: ["localhost:3000", "ftp://x", "https://", "http://[", "http://h:99999999", "https://a b"],
    kinds.ENVIRONMENT: ["Production", "langfuse-prod", "a" * 41, "a.b"],
    kinds.RATE: [*BAD_NUMBERS, "1.01"],
    kinds.SECONDS: [*BAD_NUMBERS, "0", "86401"],
    kinds.SECONDS_OR_ZERO: [*BAD_NUMBERS, "86401"],
    kinds.MEGABYTES: [*BAD_NUMBERS, "0", "1e9"],
    kinds.COUNT: [*BAD_NUMBERS, "0", "1.5", "9" * 5000, "1000000001"],
    kinds.DEPTH: [*BAD_NUMBERS, "0", "101"],
    kinds.STORE: ["sqlite:///t.db", "postgres://h/db"],
    kinds.NAMES: [],
}
VARIABLES = [(name, variable) for name, setting in SETTINGS.items() for variable in setting.env]


def cases(table):
    """Every variable of every field with each text of its kind; a kind that the table does not know is an error."""
    return [(name, variable, case) for name, variable in VARIABLES for case in table[SETTINGS[name].kind]]


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No setting in the environment and none in a `.env` file above the working directory."""
    for name in list(os.environ):
        if name.startswith(("LANGFUSE_", "POCKETFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("")  # stops the search here, whatever stands above
    return tmp_path


def source(config, name):
    return next(row.source for row in config.describe() if row.name == name)


# --------------------------------------------------------------------------------------------------- each variable


@pytest.mark.parametrize(("name", "variable", "case"), cases(ACCEPTED))
def test_each_variable_accepts(monkeypatch, name, variable, case):
    """Each environment variable sets its field, without a problem but the other key."""
    monkeypatch.setenv(variable, case[0])
    config = TracingConfig.from_env()
    assert (case[1], type(case[1])) == (getattr(config, name), type(getattr(config, name)))
    assert "environment" == source(config, name)
    assert [] == [text for text in config.problems() if not text.startswith("LANGFUSE_") or "is not set" not in text]


@pytest.mark.parametrize(("name", "variable", "text"), cases(REFUSED))
def test_each_variable_refuses(monkeypatch, name, variable, text):
    """A bad value keeps the default and makes one sentence with variable, value and what is accepted."""
    monkeypatch.setenv(variable, text)
    config = TracingConfig.from_env()
    assert SETTINGS[name].default == getattr(config, name)
    assert "default" == source(config, name)
    (problem,) = config.problems()
    assert problem.startswith(f"{variable} ")
    assert SETTINGS[name].kind.accepts in problem
    assert not config.validate()
    if SETTINGS[name].secret:
        assert text not in problem
    elif text.isprintable():
        assert f'"{text[:100]}' in problem


@pytest.mark.parametrize(("name", "variable"), VARIABLES)
@pytest.mark.parametrize("text", ["", "  "])
def test_empty_counts_as_not_set(monkeypatch, bare, name, variable, text):
    """An empty variable is as if it were not there: `.env` and the default come next."""
    monkeypatch.setenv(variable, text)
    assert SETTINGS[name].default == getattr(TracingConfig.from_env(), name)
    assert [] == TracingConfig.from_env().problems()
    good, value = ACCEPTED[SETTINGS[name].kind][0]
    (bare / ".env").write_text(f"{variable}={good}\n")
    assert value == getattr(TracingConfig.from_env(), name)


@pytest.mark.parametrize("name", SETTINGS)
def test_defaults(name):
    """With nothing set each field has its default, an instance's own."""
    config = TracingConfig.from_env()
    assert SETTINGS[name].default == getattr(TracingConfig(), name) == getattr(config, name)
    assert "default" == source(config, name)
    if isinstance(SETTINGS[name].default, dict):
        assert getattr(config, name) is not SETTINGS[name].default
    assert [] == config.problems()
    assert SETTINGS[name].doc.endswith(".")


def test_main_name_wins_over_alias(monkeypatch, bare):
    """LANGFUSE_BASE_URL wins over LANGFUSE_HOST, but an alias in the environment wins over `.env`."""
    (bare / ".env").write_text("LANGFUSE_BASE_URL=http://file\n")
    monkeypatch.setenv("LANGFUSE_HOST", "http://alias")
    assert "http://alias" == TracingConfig.from_env().langfuse_host
    monkeypatch.setenv("LANGFUSE_BASE_URL", "http://main")
    assert "http://main" == TracingConfig.from_env().langfuse_host


# --------------------------------------------------------------------------------------------------------- precedence


def test_precedence(monkeypatch, bare):
    """Argument, then environment, then `.env`, then default; `describe` says which."""
    config = TracingConfig()
    assert (100, "default") == (config.resolved().max_items, source(config, "max_items"))
    (bare / ".env").write_text("POCKETFLOW_TRACE_MAX_ITEMS=2\n")
    assert (2, f".env ({bare / '.env'})") == (config.resolved().max_items, source(config, "max_items"))
    monkeypatch.setenv("POCKETFLOW_TRACE_MAX_ITEMS", "3")
    assert (3, "environment") == (config.resolved().max_items, source(config, "max_items"))
    config.max_items = 4
    assert (4, "argument") == (config.resolved().max_items, source(config, "max_items"))
    assert 5 == TracingConfig(max_items=5).resolved().max_items


def test_what_was_not_given_comes_from_the_environment(monkeypatch):
    """`TracingConfig(debug=True)` still finds the keys, also when they are set after it was made."""
    config = TracingConfig(debug=True)
    assert not config.has_langfuse
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET)
    monkeypatch.setenv("POCKETFLOW_TRACING_DEBUG", "no")
    assert config.has_langfuse
    resolved = config.resolved()
    assert (True, PUBLIC, SECRET) == (resolved.debug, resolved.langfuse_public_key, resolved.langfuse_secret_key)
    assert config.langfuse_public_key is None


def test_given_default_wins(monkeypatch):
    """A given value that equals the default is still given."""
    monkeypatch.setenv("POCKETFLOW_TRACE_INPUTS", "no")
    assert TracingConfig(trace_inputs=True).resolved().trace_inputs
    assert "argument" == source(TracingConfig(trace_inputs=True), "trace_inputs")


def test_none_as_argument_counts_as_not_given(monkeypatch):
    """`session_id=os.environ.get(…)` without that variable leaves the setting to the environment."""
    monkeypatch.setenv("POCKETFLOW_SESSION_ID", "s1")
    assert "s1" == TracingConfig(session_id=None).resolved().session_id


def test_none_assigned_clears(monkeypatch):
    """Assigning None removes what the environment says."""
    monkeypatch.setenv("POCKETFLOW_SESSION_ID", "s1")
    config = TracingConfig.from_env()
    config.session_id = None
    assert config.resolved().session_id is None


def test_empty_key_as_argument_switches_langfuse_off(monkeypatch):
    """An empty key that is given stays empty whatever the environment holds."""
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET)
    config = TracingConfig(langfuse_public_key="", langfuse_secret_key="")
    assert (False, []) == (config.has_langfuse, config.problems())


def test_resolved_keeps_what_was_read(monkeypatch):
    """A resolved config does not look again, but checks what is assigned later."""
    config = TracingConfig.from_env()
    monkeypatch.setenv("POCKETFLOW_TRACE_MAX_ITEMS", "3")
    assert 100 == config.resolved().max_items
    config.debug = "perhaps"
    assert config.debug == "perhaps"
    assert config.resolved().debug is False
    assert [
        'TracingConfig.debug is "perhaps"; accepted: 1/0, true/false, yes/no, on/off (any case). The default, false, is used.'
    ] == config.problems()
    config.debug = True
    assert [] == config.problems()
    assert config.resolved().debug is True


def test_assigning_mends_a_problem(monkeypatch):
    """A good value in place of a bad one takes its sentence away."""
    monkeypatch.setenv("POCKETFLOW_TRACING_DEBUG", "perhaps")
    config = TracingConfig.from_env()
    assert 1 == len(config.problems())
    config.debug = True
    assert [] == config.problems()


# --------------------------------------------------------------------------------------------------------- .env files


def test_env_file_is_found_upward(monkeypatch, bare):
    """The nearest `.env` from the working directory upward is used; a folder of that name is passed over."""
    inner = bare / "a" / "b"
    inner.mkdir(parents=True)
    (bare / ".env").write_text("POCKETFLOW_USER_ID=outer\n")
    (inner / ".env").mkdir()
    monkeypatch.chdir(inner)
    assert "outer" == TracingConfig.from_env().user_id
    (bare / "a" / ".env").write_text("\ufeffexport POCKETFLOW_USER_ID='nearest'\n", encoding="utf-8")
    assert "nearest" == TracingConfig.from_env().user_id


def test_env_file_is_not_pushed_into_the_environment(bare):
    """Reading `.env` leaves `os.environ` as it is."""
    (bare / ".env").write_text(f"LANGFUSE_PUBLIC_KEY={PUBLIC}\nLANGFUSE_SECRET_KEY={SECRET}\nOTHER_THING=1\n")
    before = dict(os.environ)
    config = TracingConfig.from_env()
    assert config.has_langfuse
    assert PUBLIC == config.to_langfuse_kwargs()["public_key"]
    assert before == dict(os.environ)


def test_the_env_file_is_read_past_a_mock_on_open(bare):
    """A test of the host's that counts what its code opens does not see us."""
    (bare / ".env").write_text("LANGFUSE_PUBLIC_KEY=pk-lf-read\n")
    with mock.patch("builtins.open", mock.mock_open(read_data="LANGFUSE_PUBLIC_KEY=pk-lf-mock")) as opened:
        assert TracingConfig().resolved().langfuse_public_key == "pk-lf-read"
    opened.assert_not_called()


@pytest.mark.parametrize("as_type", [str, Path])
def test_given_env_file(bare, as_type):
    """A given file is used in place of the nearest one."""
    (bare / ".env").write_text("POCKETFLOW_USER_ID=nearest\nPOCKETFLOW_SESSION_ID=s\n")
    (bare / "other.env").write_text("POCKETFLOW_USER_ID=given\n")
    config = TracingConfig.from_env(as_type(bare / "other.env"))
    assert ("given", None) == (config.user_id, config.session_id)


@pytest.mark.parametrize("env_file", ["missing.env", ".", "~no-such-user-here/.env", 3, "pipe", "binary", "nul\0"])
def test_unusable_env_file_is_one_problem(monkeypatch, bare, env_file):
    """A given file that cannot be read is one sentence; the environment still counts."""
    os.mkfifo(bare / "pipe")
    (bare / "binary").write_bytes(b"A=\xff\xfe\x00")
    monkeypatch.setenv("POCKETFLOW_USER_ID", "u")
    config = TracingConfig.from_env(env_file)
    assert "u" == config.user_id
    (problem,) = config.problems()
    assert "accepted: " in problem
    assert problem.startswith("The .env file ")


@pytest.mark.parametrize(
    ("text", "user", "problem"),
    [
        ("A=1\nPOCKETFLOW_USER_ID=${A}-${HOME_OF_NOBODY:-x}-$A\nA=2\n", "1-x-$A", None),
        ("POCKETFLOW_USER_ID='${A}'\n", "", None),
        ("POCKETFLOW_USER_ID=${FROM_OUTSIDE}\nFROM_OUTSIDE=file\n", "outside", None),
        ("FROM_OUTSIDE=file\nPOCKETFLOW_USER_ID=${FROM_OUTSIDE}\n", "file", None),
        ('{"a": "b",\n"POCKETFLOW_USER": 1}\nPOCKETFLOW_USER_ID=u\n', "u", "has no value in line 2"),
        ('{"a": "b"}\n"c\nPOCKETFLOW_USER_ID=u\n', "u", None),
        ('KEY="two\nPOCKETFLOW_USER_ID=lines"\n', None, None),
        ("A=" + "${" * 100_000 + "\nPOCKETFLOW_USER_ID=u\n", "u", None),
        ("#\n" * 140_000 + "POCKETFLOW_USER_ID=u\n", None, "is too long; accepted: up to 262,144"),
    ],
)
def test_what_an_env_file_says(text, user, problem, bare, monkeypatch, caplog, capfd):
    """It is read as python-dotenv does, but what is none of ours is not talked about."""
    monkeypatch.setenv("FROM_OUTSIDE", "outside")
    (bare / ".env").write_text(text)
    config = TracingConfig.from_env()
    assert user == config.user_id if user else not config.user_id
    if problem:
        assert problem in config.problems()[0]
    assert bool(problem) == len(config.problems())
    assert not caplog.records
    assert ("", "") == capfd.readouterr()
    if not problem and len(text) < 1000:
        known = dotenv.dotenv_values(bare / ".env")
        assert known.get("POCKETFLOW_USER_ID") == read_env_file(str(bare / ".env"))[0].get("POCKETFLOW_USER_ID")


def test_of_a_long_env_file_each_line_is_read_once(bare, monkeypatch):
    """The environment and all values before were copied for each: 20,000 lines took 76 s of the first run."""
    lines = "".join(f"KEY_{number}=value {number}\n" for number in range(2000))
    (bare / ".env").write_text(f"{lines}POCKETFLOW_USER_ID=u\n")
    copies = []
    monkeypatch.setattr(type(os.environ), "keys", lambda environ: copies.append(1) or list(environ))
    assert "u" == TracingConfig.from_env().user_id
    assert len(copies) < 10


def test_problem_of_env_file_names_the_file(bare):
    """A bad value in a file says in which file."""
    (bare / ".env").write_text("POCKETFLOW_TRACE_INPUTS=maybe\n")
    (problem,) = TracingConfig.from_env().problems()
    assert problem.startswith(f'POCKETFLOW_TRACE_INPUTS in {bare / ".env"} is "maybe"; accepted: 1/0')


def test_removed_working_directory(monkeypatch, bare):
    """A working directory that is gone is no error."""
    gone = bare / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    config = TracingConfig.from_env()
    assert [] == config.problems()
    assert config.store_path() == str(Path(".pocketflow", "traces.db"))
    os.chdir(bare)


# ------------------------------------------------------------------------------------------------- arguments, problems


class Hostile:
    """Raises from what a careless check would call."""

    def __repr__(self):
        raise RuntimeError

    __str__ = __eq__ = __len__ = __iter__ = __bool__ = __float__ = __int__ = __index__ = __repr__
    __hash__ = None


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(
    "value",
    [object(), Hostile(), b"bytes", 10**5000, -1.5, float("nan"), [1, object()], 3 + 4j],
    ids=lambda value: type(value).__name__,
)
def test_wrong_types_are_problems(name, value):
    """A wrong type as an argument never raises: a sentence that names the field, and a value of the right type."""
    if type(value) is int and SETTINGS[name].kind is kinds.TEXT:
        pytest.skip("whole numbers are taken as ids")
    config = TracingConfig(**{name: value})
    assert getattr(config, name) is value
    problem = config.problems()[0]
    assert problem.startswith(f"TracingConfig.{name} ")
    assert SETTINGS[name].kind.accepts in problem
    used = getattr(config.resolved(), name)
    assert used == SETTINGS[name].default or name in {"mask", "tags", "redact"}
    repr(config)
    config.describe()
    config.to_langfuse_kwargs()


def test_whole_numbers_are_ids():
    """A user id is often a number."""
    assert "17" == TracingConfig(user_id=17).resolved().user_id


def test_python_only_fields(bare):
    """Tags, metadata, functions and policies are taken as given; one tag may be plain text."""
    config = TracingConfig(
        tags="one",
        metadata={"a": 1},
        mask=len,
        serializers={int: str},
        policies={"a*": "hide"},
        redact=["ssn"],
        redact_defaults=False,
        store=bare / "x.db",
    )
    resolved = config.resolved()
    assert [] == config.problems()
    assert (("one",), {"a": 1}, len, {int: str}) == (
        resolved.tags,
        resolved.metadata,
        resolved.mask,
        resolved.serializers,
    )
    assert ({"a*": "hide"}, ("ssn",), False) == (resolved.policies, resolved.redact, resolved.redact_defaults)
    assert str(bare / "x.db") == resolved.store


def test_dict_filled_in_place():
    """A dict that is filled after construction counts as given."""
    config = TracingConfig()
    config.metadata["team"] = "a"
    assert {"team": "a"} == config.resolved().metadata
    assert "argument" == source(config, "metadata")
    assert {} == TracingConfig().metadata


def test_bad_privacy_settings_hide():
    """A bad mask withholds, an unknown policy hides: a mistake must not record more."""
    config = TracingConfig(mask="no function", policies={"email": "hid", "name": "record"})
    assert {"email": "hide", "name": "record"} == config.resolved().policies
    with pytest.raises(TypeError, match="mask is not callable"):
        config.resolved().mask("value", ("path",))
    assert [
        'TracingConfig.mask is "no function"; accepted: a function of value and path. Every value is withheld.',
        'TracingConfig.policies has no known policy for email; accepted: a dict of key pattern: "record", "summarise" or "hide". What stands there is hidden.',
    ] == config.problems()
    assert 2 == len(config.resolved().resolved().problems())


def test_unknown_field_is_a_problem():
    """A misspelt field says so and what was meant."""
    config = TracingConfig()
    config.trace_input = False
    assert ["TracingConfig has no setting trace_input: it has no effect; accepted: trace_inputs."] == config.problems()


def test_misspelt_variable_is_a_problem(monkeypatch):
    """A variable that nearly is one of ours says so; what is merely unknown does not."""
    monkeypatch.setenv("POCKETFLOW_TRACE_INPUT", "no")
    monkeypatch.setenv("POCKETFLOW_TRACE_SOMETHING_OF_YOURS", "1")
    assert [
        "POCKETFLOW_TRACE_INPUT is no setting and has no effect; accepted: POCKETFLOW_TRACE_INPUTS."
    ] == TracingConfig.from_env().problems()


@pytest.mark.parametrize(
    ("there", "missing"),
    [("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"), ("LANGFUSE_SECRET_KEY", "LANGFUSE_PUBLIC_KEY")],
)
def test_half_a_set_of_credentials(monkeypatch, there, missing):
    """One key alone is one sentence and no Langfuse."""
    monkeypatch.setenv(there, PUBLIC if "PUBLIC" in there else SECRET)
    config = TracingConfig.from_env()
    assert [
        f"{missing} is not set, but {there} is; accepted: both or neither. Nothing is sent to Langfuse."
    ] == config.problems()
    assert not config.has_langfuse
    monkeypatch.setenv(missing, "your-key")
    (problem,) = TracingConfig.from_env().problems()
    assert problem.startswith(f"{missing} still holds a placeholder; accepted: ")
    assert not TracingConfig.from_env().has_langfuse


# ------------------------------------------------------------------------------------------------------------- secrets


def test_secrets_are_never_shown(monkeypatch):
    """A key stands in no repr, description or sentence, wherever it was put."""
    everywhere = {name: SECRET for name in SETTINGS if name not in {"mask", "langfuse_secret_key"}}
    everywhere["langfuse_host"] = "https://user:hunter22@lf.example"
    for config in (
        TracingConfig(langfuse_secret_key=SECRET, **everywhere),
        TracingConfig(langfuse_secret_key=[SECRET]),
    ):
        for shown in (repr(config), repr(config.resolved()), repr(config.describe()), repr(config.problems())):
            assert SECRET[:-4] not in shown
            assert "hunter22" not in shown
    assert "sk-lf-…dcba" == TracingConfig(langfuse_secret_key=SECRET).describe()[1].value
    assert "set" == TracingConfig(langfuse_secret_key="sk-lf-short").describe()[1].value
    assert "not set" == TracingConfig().describe()[1].value


@pytest.mark.parametrize("rest", ["?token=hunter22", "/?a=1&token=hunter22#x", "#hunter22", "?"])
def test_an_address_is_used_without_query_and_fragment(monkeypatch, rest):
    """What may be a token is neither sent to nor shown; one sentence says so, and Langfuse is used all the same."""
    monkeypatch.setenv("LANGFUSE_BASE_URL", f"https://lf.example/base{rest}")
    config = TracingConfig(langfuse_public_key=PUBLIC, langfuse_secret_key=SECRET)
    assert "https://lf.example/base" == config.resolved().langfuse_host == config.to_langfuse_kwargs()["base_url"]
    assert config.has_langfuse
    (problem,) = config.problems()
    assert problem.startswith("LANGFUSE_BASE_URL has a query or a fragment; accepted: ")
    assert problem.endswith(". The address before it is used.")
    for given in (f"https://lf.example{rest}", f"ftp://lf.example{rest}"):
        made = TracingConfig(langfuse_host=given, langfuse_public_key=PUBLIC, langfuse_secret_key=SECRET)
        assert made.has_langfuse == given.startswith("https")
        assert "hunter22" not in repr((made, made.resolved(), made.describe(), made.problems()))


@pytest.mark.parametrize(
    "given",
    [
        "user:hunter22@lf.example", "https:/user:hunter22@lf.example", "https://user:hunt/er22@lf.example", "//user:hunter22@lf.example",
        "/otlp/v1/traces?api_key=hunter22", "otlp?a=1&token=hunter22", "postgres://user:hunter22@lf.example/db", f"{'://' * 30_000}:hunter22@",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["langfuse_host", "traces_path", "store", "release"])
def test_what_is_no_address_shows_no_password_either(name, given):
    """Nor does the path to which spans go, whose query may be a token."""
    made = TracingConfig(**{name: given})
    for shown in (repr(made), repr(made.describe()), repr(made.problems())):
        assert "hunter22" not in shown
        assert "er22" not in shown


def test_refused_secret_is_not_shown(monkeypatch):
    """The sentence about an unusable key holds nothing of it, whatever it looks like."""
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "hunter\n22")
    (problem,) = TracingConfig.from_env().problems()
    assert problem.startswith("LANGFUSE_SECRET_KEY has a value that is not shown; accepted: ")
    assert "hunter" not in problem


def test_swapped_keys_are_told(monkeypatch):
    """Keys in each other's place are refused, unseen."""
    config = TracingConfig(langfuse_public_key=SECRET, langfuse_secret_key=PUBLIC)
    assert not config.has_langfuse
    assert 2 == len(config.problems())
    assert all("holds the other one of the two keys" in problem for problem in config.problems())


@pytest.mark.parametrize("key", ["pk-lf-12ü", "pk-lf-中"])
def test_a_key_that_no_request_can_carry_is_told(key):
    """It is copied with something else; the server is not to blame."""
    (problem,) = TracingConfig(langfuse_public_key=key, langfuse_secret_key=SECRET).problems()
    assert "holds characters that no key has" in problem


# ----------------------------------------------------------------------------------------------------- copies, pickles


def test_copies_are_independent():
    """Nothing done to a copy is seen by the other, in place or by assignment."""
    config = TracingConfig(metadata={"deep": {"list": [1]}}, tags=["a"], debug=True)
    for twin in (config.copy(), copy.copy(config), copy.deepcopy(config), config.resolved()):
        twin.metadata["deep"]["list"].append(2)
        twin.metadata["new"] = 1
        twin.policies["x"] = "hide"
        twin.user_id = "u"
        twin.debug = False
        assert {"deep": {"list": [1]}} == config.metadata
        assert ({}, None, True) == (config.policies, config.user_id, config.resolved().debug)
        assert "default" == source(config, "user_id")


def test_copy_shares_what_it_cannot_copy():
    """A copy holds the same functions and objects, and ends with cyclic metadata."""
    lock = Hostile()
    cyclic = {"lock": lock}
    cyclic["self"] = cyclic
    twin = TracingConfig(metadata=cyclic, mask=len).copy()
    assert twin.metadata["lock"] is lock
    assert twin.mask is len


@pytest.mark.parametrize("make", [lambda: TracingConfig(debug=True, tags=["a"]), TracingConfig.from_env])
def test_pickle(monkeypatch, make):
    """A pickled config is the same, and knows what was given."""
    config = make()
    twin = pickle.loads(pickle.dumps(config))
    assert config == twin
    assert config.describe() == twin.describe()
    twin.debug = "perhaps"
    assert 1 == len(twin.problems())


# ----------------------------------------------------------------------------------------------------- Langfuse, store


def test_langfuse_arguments():
    """What the client gets: no None, whole seconds, and a sample rate of 0 that langfuse 4 does not take for unset."""
    config = TracingConfig(
        langfuse_public_key=PUBLIC,
        langfuse_secret_key=SECRET,
        timeout=0.2,
        sample_rate=0,
        environment="prod",
        debug=True,
    )
    assert {
        "public_key": PUBLIC,
        "secret_key": SECRET,
        "base_url": "https://cloud.langfuse.com",
        "timeout": 1,
        "environment": "prod",
        "sample_rate": 5e-324,
    } == config.to_langfuse_kwargs()
    assert {
        "base_url": "https://cloud.langfuse.com",
        "timeout": 5,
        "sample_rate": 1.0,
    } == TracingConfig().to_langfuse_kwargs()


def test_langfuse_takes_the_arguments():
    """The installed client has a parameter for each, and its sampler drops everything at rate 0."""
    langfuse = pytest.importorskip("langfuse")
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    config = TracingConfig(
        langfuse_public_key=PUBLIC, langfuse_secret_key=SECRET, release="1", environment="p", sample_rate=0
    )
    arguments = config.to_langfuse_kwargs()
    assert set(arguments) <= set(inspect.signature(langfuse.Langfuse.__init__).parameters)
    assert Decision.DROP == TraceIdRatioBased(arguments["sample_rate"]).should_sample(None, 1, "span").decision


def test_store_path(monkeypatch, bare):
    """off is None, auto a file under the working directory, a path is expanded, a folder holds traces.db."""
    monkeypatch.setenv("HOME", str(bare / "home"))
    (bare / "folder").mkdir()
    paths = {
        "off": None,
        "auto": ".pocketflow/traces.db",
        "~/t.db": "home/t.db",
        "x/t.db": "x/t.db",
        "folder": "folder/traces.db",
    }
    for store, expected in paths.items():
        assert (expected and str(bare / expected)) == TracingConfig(store=store).store_path()
    assert str(bare / "~no-such-user-here/t.db") == TracingConfig(store="~no-such-user-here/t.db").store_path()


def test_import_is_light():
    """Importing the module on its own loads neither the readers of files nor any sink."""
    folder = str(Path(inspect.getfile(TracingConfig)).parent)
    code = (
        "import sys, types; package = types.ModuleType('pocketflow_tracing'); "
        f"package.__path__ = [{folder!r}]; sys.modules['pocketflow_tracing'] = package; "
        "import pocketflow_tracing.config; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pocketflow_tracing.config" in loaded
    assert not {"dotenv", "langfuse", "opentelemetry", "sqlite3", "typer", "rich", "httpx"} & set(loaded)


def test_signature_shows_the_defaults():
    """help() shows each setting with its default."""
    parameters = inspect.signature(TracingConfig).parameters
    assert list(SETTINGS) == list(parameters)
    assert "False" == repr(parameters["debug"].default)
