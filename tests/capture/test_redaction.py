"""Which names are those of secrets, and that their values go wherever in a value they stand."""

from __future__ import annotations

import collections
import ctypes
import dataclasses
import enum
import json
import multiprocessing
import multiprocessing.managers
import types

import httpx
import numpy as np
import pandas as pd
import pytest
from pocketflow import Flow, Node

from pocketflow_tracing import capture_aliases, trace_flow
from pocketflow_tracing import render as render_module
from pocketflow_tracing.capture import Capture, snapshot
from pocketflow_tracing.capture_types import Limits
from pocketflow_tracing.redaction import Redactor, Rules
from pocketflow_tracing.render import render

HITS = """
api_key apikey APIKEY apiKey API_KEY x-api-key X-API-Key OPENAI_API_KEY openaiApiKey OPENAIAPIKEY ANTHROPIC_API_KEY api-key api.key
authorization Authorization Proxy-Authorization auth http_auth bearer bearer_token password Password PASSWORD db_password passwordHash
passwd user_passwd pwd db_pwd passphrase secret SECRET client_secret clientSecret clientsecret secret_key SECRET_KEY_BASE secrets
my_secret_value token access_token accessToken accesstoken refresh_token refreshToken id_token csrf_token HF_TOKEN githubToken
auth_tokens api_token api_tokens token_secret cookie cookies Set-Cookie session_cookie private_key privateKey ssh_private_key
credentials credential aws_credentials creds access_key aws_access_key_id AWS_SECRET_ACCESS_KEY jwt encryption_key signing_key
sessionid JSESSIONID PHPSESSID connect.sid csrftoken X-CSRFToken csrfmiddlewaretoken idtoken sessiontoken authkey X-Auth-Key GH_PAT
bearerToken bottoken webhooksecret signingkey azure_key cvv user_otp seed_phrase deploy_key FERNET_KEY app_key dbpass SharedAccessSignature appsecret hmac_key service_role_key
connection_string openai_key AZURE_OPENAI_KEY DB_PASS authorization_header userinfo secret_id secret_name password_hint password_reset_url
secret1 secret2 token2 TOKEN_2 github_token_old TOKEN_PROD secret_key_v API_KEY_LIVE admin_pass db_pw pw openAiKey googleKey stripe_key kms_key
RABBITMQ_DEFAULT_PASS ansible_ssh_pass DD-APPLICATION-KEY pre_shared_key wpa_psk SUPABASE_SERVICE_KEY SENDGRID_KEY OpenAIKey client_assertion totp otp_code recovery_code service_account_json
""".split()

MISSES = """
max_tokens maxTokens max_token token_count tokenCount tokens total_tokens tokenizer tokenizer_name prompt_tokens completion_tokens
input_tokens output_tokens token_usage token_ids eos_token eos_token_id pad_token stop_token next_token tokens_per_second
next_page_token page_token max_new_tokens time_to_first_token secretary secretariat author authors authorized authority authored
authenticate key keys keyword keyboard primary_key foreign_key key_points monkey passage passenger password_ cookies_accepted
cookie_policy bearing id name content messages prompt cost_per_token num_tokens tokenized public_key_points compass accessed
use_auth password_policy passwordPolicy password_min_length password_strength user_password_rules api_key_name OPENAI_API_KEY_ENV_VAR
api_key_header bearer_format session_id sessionId session csrf pattern path compat option adopt mapper_key
auth0 oauth2 max_tokens_2 tokens_old author_1 kms_key_id first_pass proxy_pass tests_pass forward_pass passes bypass compass search_key
""".split()

MISSES.remove("password_")


@pytest.mark.parametrize("name", HITS)
def test_names_of_secrets_are_known(name):
    assert Redactor().hits(name)
    assert render(snapshot({name: "value-to-hide"}), Rules()) == {name: "[redacted]"}


@pytest.mark.parametrize("name", MISSES)
def test_names_that_only_look_like_secrets_are_left(name):
    assert not Redactor().hits(name)


COMMANDS = [
    (["psql", "--password", "hunter2", "-U", "me"], ["psql", "--password", "[redacted]", "-U", "me"]),
    (["x", "--api-key=hunter2", "-token", "a b"], ["x", "--api-key=[redacted]", "-token", "[redacted]"]),
    (["x", "--password", "--verbose"], ["x", "--password", "--verbose"]),
    (["x", "--password"], ["x", "--password"]),
    (["java", "-Ddb.password=letters", "-Dn=letters"], ["java", "-Ddb.password=[redacted]", "-Dn=letters"]),
    (["/usr/bin/curl", "-u", "me:hunter2", "-v"], ["/usr/bin/curl", "-u", "[redacted]", "-v"]),
    (["useradd", "-u", "1000"], ["useradd", "-u", "1000"]),
    (["x", "--max-tokens", "12", "- token", "y"], ["x", "--max-tokens", "12", "- token", "y"]),
    ("mysql --user=me --password=hunter2 shop", "mysql --user=me --password=[redacted] shop"),
    ('curl --api-key="hun ter" -d a=b', 'curl --api-key="[redacted]" -d a=b'),
]


@pytest.mark.parametrize(("command", "shown"), COMMANDS)
def test_the_secret_options_of_a_command_are_hidden(command, shown):
    """In its words the value is the next one, or stands behind the equals sign; with a mask and paths as without."""
    assert render(snapshot(command), Rules()) == shown
    assert render(snapshot(command), Rules(mask=lambda value, _: value)) == shown


def test_the_list_is_extendable_and_replaceable():
    assert Redactor(("ssn", "*Iban*")).hits("user_iban_code")
    assert Redactor(("ssn",)).hits("SSN")
    assert Redactor(("ssn",)).hits("api_key")
    assert Redactor(("eos_token",)).hits("eos_token"), "what a user adds goes before the built-in exceptions"
    assert not Redactor(("ssn",), defaults=False).hits("api_key")
    assert Redactor(("ssn",), defaults=False).hits("ssn")


class Header(str, enum.Enum):
    KEY = "X-API-Key"
    ACCEPT = "Accept"


class Plain(enum.Enum):
    LOGIN = "password"
    ACCEPT = "accept"


@dataclasses.dataclass
class Account:
    user: str
    password: str


def uploaded(**fields):
    """A request with a file, which keeps the fields beside it as they go over the wire too, once they have."""
    request = httpx.Request("POST", "http://x", data=fields, files={"file": b"x"})
    assert b"hunter2" in b"".join(request.stream)
    return request


@pytest.mark.parametrize(
    "value",
    [
        {"password": "hunter2"}, {"a": [{"b": {"apiKey": "hunter2"}}]}, Account("u", "hunter2"), [Account("u", "hunter2")],
        {"credentials": {"user": "hunter2", "deep": ["hunter2"]}}, [("Authorization", "hunter2")], (["x-api-key", "hunter2"],),
        {"headers": {b"Authorization": b"hunter2"}}, {1: 2, "token": "hunter2"}, {"name": "Cookie", "value": "hunter2"},
        {"env": [{"key": "DB_PASSWORD", "value": "hunter2"}]}, {"token": 1234567, "secret": b"hunter2", "pwd": object},
        {"Name": "/prod/db/password", "Type": "SecureString", "Value": "hunter2"}, {"Key": "api_key", "Value": "hunter2"},
        *({label: "X-API-Key", "value": "hunter2"} for label in ("field", "header", "variable", "param", "parameter")),
        {"columns": ["user", "password"], "data": [["me", "hunter2"]]}, {"columns": ["auth_token"], "rows": [("hunter2",)]},
        {"columns": [("a", "b"), ("a", "password")], "index": [0], "data": [["me", "hunter2"]]},
        {"columns": ["id"] * 150 + ["password"] + ["id"] * 9, "data": [[0] * 150 + ["hunter2"] + [0] * 9] * 40},
        {"name": "sid", "value": "hunter2", "domain": "x.com", "httpOnly": True},
        {"name": "sid", "value": "hunter2", "domain": "x.com", "path": "/"},
        {"statement": "insert into users(name, password) values (?, ?)", "params": ("me", "hunter2")},
        {"columns": [{"name": "user", "type": "varchar"}, {"name": "password", "type": "varchar"}], "data": [["me", "hunter2"]]},
        {"columns": ["time", "password"], "values": [[1, "hunter2"]]}, {"headers": ["user", "password"], "rows": [["me", "hunter2"]]}, {"header": ["user", "password"], "rows": [["me", "hunter2"]]},
        {"db_password": {"sensitive": True, "type": "string", "value": "hunter2"}}, {"token_id": 8123, "token": "hunter2"},
        {"openai_api_key": {"type": "str", "value": "hunter2", "password": True, "show": True}},
        {"password": {"type": "string", "default": "hunter2"}}, {"password": {"type": "array", "items": {"type": "string", "const": "hunter2"}}},
        {"rows": [["x"] * 24 + ["hunter2"]] * 100, "columns": [f"c{number}" for number in range(24)] + ["password"]},
        {"columns": pd.Index(["user", "password"]), "rows": [["me", "hunter2"]]}, {"columns": {"a": 1, "token": 2}.keys(), "rows": [(1, "hunter2")]},
        {"columns": ["user", "password"], "data": np.array([["me", "hunter2"], ["you", "hunter2"]])}, [(Header.KEY, "hunter2")],
        {"columns": ["user", "password"], "rows": collections.deque([collections.deque(["me", "hunter2"])])}, [(np.str_("x-api-key"), "hunter2")],
        {"name": "token", "value": "hunter2", "_data": b"hunter2", "raw": ["hunter2"]}, {"name": "api_key", "default": "hunter2"}, {"name": "pwd", "data": "hunter2"}, uploaded(password="hunter2"),
        {"name": Header.KEY, "value": "hunter2"}, {"name": b"DB_PASSWORD", "value": "hunter2"}, {"name": "DB_PASSWORD", "value": "hunter2", 0: 1},
        {"columns": ["password"], "rows": [["hunter2"]], 0: 1},
        {"host": "smtp.x", "user": "me", "pass": "hunter2"}, {"user": "me", "pass_": "hunter2"}, {"user": "me", "_pass": "hunter2"}, {"id": "pw1", "type": "password", "value": "hunter2"},
        *({"name": "api_tokens", **more} for more in (
            {"columns": ["user", "password"], "rows": [["me", "hunter2"]]}, {"user": "me", "pass": "hunter2"},
            {"statement": "insert into x(password) values (?)", "params": ["hunter2"]}, {"loc": ["password"], "input": "hunter2"},
        )),
        {"loc": ["body", "password"], "input": 1, "columns": ["password"], "rows": [["hunter2"]]},
        {"errors": [{"loc": ["body", "password"], "type": "too_short", "input": "hunter2"}]},
        {Header.KEY: "hunter2", Header.ACCEPT: "json"}, {Plain.LOGIN: "hunter2", Plain.ACCEPT: "json"}, {"token": "hunter2", "token_str": "a"},
        {"ParameterKey": "DbPassword", "ParameterValue": "hunter2"}, {"authkey": b"hunter2"}, {"X-Auth-Key": "hunter2"},
        {("token", "first"): "hunter2", ("id", "first"): 1}, {"keyword": b"password", "envvar": b"PGPASSWORD", "val": b"hunter2"},
        types.SimpleNamespace(_name="DB_PASSWORD", _value="hunter2", _value_from=None), types.SimpleNamespace(_key="token", _value="hunter2"),
        pd.DataFrame({"user": ["me"], "token": ["hunter2"]}).groupby("user").agg({"token": ["first", "last"]}),
        {"url": "postgres://user:hunter2@db/x"}, type("SecretStr", (), {"__init__": lambda s: setattr(s, "v", "hunter2")})(),
    ],
)  # fmt: skip
def test_a_secret_is_found_wherever_it_stands(value):
    text = json.dumps(render(snapshot(value), Rules()))
    assert "hunter2" not in text
    assert "1234567" not in text
    assert "[redacted]" in text


@pytest.mark.parametrize(
    "value",
    [
        {"name": "color", "value": "red"}, {"Key": "color", "Value": "red"}, {"field": "max_tokens", "value": 3},
        {"name": "x.com", "value": "1.2.3.4", "domain": "x.com"}, {"columns": ["user"], "data": [["me"]]},
        {"columns": {"user": "object"}, "data": "x"}, {"columns": ["password"], "data": [], "rows": "x"},
        {"statement": "select name from users where id = ?", "params": [5]}, {"statement": None, "params": ["password"]},
        {"keyword": "reset password", "value": 3, "data": "a page"}, {"pass": 3, "fail": 1}, {"pass": "first", "n": 1}, {"user": "me", "pass": 7},
        {"index_names": ["password"], "params": {}}, {"index_names": ["password"], "index": 3, "value": 1}, {"head": 1, "index": {}},
        {"name": "sid", "domain": "x.com", "path": "/", "sameSite": "Lax", "data": "a page"}, {"key": "auth", "data": "", "state": "on", "raw": "a"},
        {"columns": ["password"], "data": [[None], {"a": 1}]}, {"name": "api_keys", "data": [{"id": 1}], "default": 1}, {"name": "password", "value": None},
    ],
)  # fmt: skip
def test_what_stands_beside_a_label_that_names_no_secret_is_left(value):
    assert render(snapshot(value), Rules()) == value


@pytest.mark.absorbs
def test_a_value_that_cannot_be_shown_costs_itself(records, monkeypatch):
    """An error of ours while it is rendered, not the span, and with it a run's root."""
    cleaned = render_module.cleaned_once

    def fails(text, *rest, **more):
        if text == "bad":
            raise KeyError("index")
        return cleaned(text, *rest, **more)

    monkeypatch.setattr(render_module, "cleaned_once", fails)
    trace_flow(Flow(start=Node())).run({"a": "bad"})
    assert records.span("Flow").input == "<not shown: an error in pocketflow-tracing>"
    assert records.span("Node").status == "success"


def test_the_path_counts_as_a_name_too():
    assert render("hunter2", Rules(), ("shared", "api_key")) == "[redacted]"
    assert render(["hunter2"], Rules(), ("shared", "credentials", "list")) == "[redacted]"
    assert render("x", Rules(), ("shared", "text")) == "x"


def test_an_absent_secret_may_be_seen_to_be_absent():
    assert render({"api_key": None, "password": False}, Rules()) == {"api_key": None, "password": False}


def test_what_belongs_under_a_secrets_name_may_be_said():
    """The schema of a tool or of a table holds no secrets, nor does an empty text."""
    schema = {
        "properties": {"password": {"type": "string", "description": "of the account"}},
        "token": "VARCHAR(64)",
        "auth": "",
    }
    assert schema == render(snapshot(schema), Rules())
    assert {"password": "[redacted]"} == render(snapshot({"password": {"type": "hunter2"}}), Rules())


def test_what_the_labels_of_rows_are_called_counts():
    """An index, or a level of one, that is named like a secret holds secrets."""
    frame = pd.DataFrame({"api_key": ["hunter2"], "user": ["ada"], "n": [1]})
    one = render(snapshot(frame.set_index("api_key")), Rules())
    two = render(snapshot(frame.set_index(["user", "api_key"])), Rules())
    assert (["[redacted]"], [["ada", "[redacted]"]]) == (one["index"], two["index"])
    assert "hunter2" not in json.dumps(render(snapshot(pd.Index(["hunter2"], name="password")), Rules()))
    assert ["ada"] == render(snapshot(frame.set_index("user")), Rules())["index"]


def test_what_the_levels_of_columns_are_called_counts():
    """A table by API key has one in each label; without the names of levels they are shown."""
    frame = pd.DataFrame({"day": [1, 2], "api_key": ["hunter2", "hunter3"], "model": ["m", "n"], "cost": [1.0, 2.0]})
    one = render(snapshot(frame.pivot_table(index="day", columns="api_key", values="cost")), Rules())
    assert {"[redacted] (0)": "float64", "[redacted] (1)": "float64"} == one["columns"]
    assert {"[redacted] (0)": 1.0, "[redacted] (1)": "NaN"} == one["head"][0]
    two = render(snapshot(frame.pivot_table(index="day", columns=["model", "api_key"], values="cost")), Rules())
    assert "hunter" not in json.dumps(two)
    three = render(snapshot(frame.pivot_table(index="day", columns="model", values="cost")), Rules())
    assert {"m": "float64", "n": "float64"} == three["columns"]


@pytest.mark.parametrize("form", [dict, lambda **fields: types.SimpleNamespace(**fields)])
@pytest.mark.parametrize(("columns", "rows"), [(8, 2000), (19, 100), (19, 500), (25, 80), (60, 33)])
def test_cells_whose_columns_there_was_no_room_for_go(columns, rows, form):
    """Rows that came first have used up what is read of one value, so that names are missing; numbers may stay."""
    names = [f"column{number}" for number in range(columns)]
    names[columns // 2] = "password"
    cells = [["hunter2" if name == "password" else number for number, name in enumerate(names)] for _ in range(rows)]
    shown = json.dumps(render(snapshot(form(rows=cells, columns=names)), Rules()))
    assert ("hunter2" in shown, "[redacted]" in shown) == (False, True)


def test_what_there_was_no_room_to_name_goes():
    """At the end of what is read of one value; what is wide is data, whose fields are no values with a name beside them."""
    for filled in range(1700, 2000):
        values = [{"value": "hunter2", "name": "api_key"} for _ in range(30)]
        shown = render(snapshot([[[1] * 99 for _ in range(filled // 100)], [1] * (filled % 100), values]), Rules())
        assert "hunter2" not in json.dumps(shown), filled
    wide = {"rows": [["hunter2", 1]], **{f"key{number}": 1 for number in range(200)}}
    assert [["[redacted]", 1]] == render(snapshot(wide), Rules())["rows"]
    for harmless in (
        {"value": "text", "head": "text", **{f"key{number}": 1 for number in range(200)}},
        ["-item", *["text"] * 200],
    ):
        assert "[redacted]" not in json.dumps(render(snapshot(harmless), Rules()))


def test_a_wide_named_tuple_has_its_names():
    """As a row of a frame with hundreds of columns."""
    for place in (5, 99, 150):
        names = [f"column{number}" for number in range(200)]
        names[place] = "password"
        row = collections.namedtuple("row", names)(*["hunter2" if name == "password" else 0 for name in names])
        shown = render(snapshot(row), Rules())
        assert "hunter2" not in json.dumps(shown)
        assert (0, "… 100 more items") == (shown["column0"], shown["…"])


def test_what_a_field_is_called_elsewhere_counts():
    """In JSON, in the environment, or where the class is called."""
    pydantic, attrs = pytest.importorskip("pydantic"), pytest.importorskip("attrs")

    class Settings(pydantic.BaseModel):
        openai: str = pydantic.Field(alias="OPENAI_API_KEY")
        database: str = pydantic.Field("hunter2", serialization_alias="db_password")
        server: str = pydantic.Field(
            "hunter2", validation_alias=pydantic.AliasChoices("token", pydantic.AliasPath("a", 1))
        )
        model: str = pydantic.Field("small", alias="MODEL")

    @attrs.define
    class Login:
        user: str
        word: str = attrs.field(alias="password")

    class Mine(Settings):
        more: int = 1

    for settings in (Settings(OPENAI_API_KEY="hunter2"), Mine(OPENAI_API_KEY="hunter2")):
        shown = render(snapshot(settings), Rules())
        assert ["[redacted]"] * 3 + ["small"] == [shown[key] for key in ("openai", "database", "server", "model")]
    assert {"__type__": "Login", "user": "me", "word": "[redacted]"} == render(
        snapshot(Login("me", "hunter2")), Rules()
    )


@pytest.mark.parametrize("base", [(str, enum.Enum), (enum.Enum,), (enum.IntEnum,)])
def test_a_key_says_what_its_value_is_where_a_picture_ends(base):
    """Keys that are no texts count among the elements of a picture; behind its last one each is still asked for its name."""
    values = {"USER": 1, "PASSWORD": 2} if base[0] is enum.IntEnum else {"USER": "user", "PASSWORD": "password"}
    field = base[-1]("Field", values, type=base[0]) if len(base) > 1 else base[0]("Field", values)
    for users in range(1, 90):
        wide = {number: {field["USER"]: "me", field["PASSWORD"]: "hunter2"} for number in range(users)}
        assert "hunter2" not in json.dumps(render(snapshot(wide, Limits(max_elements=50)), Rules()))
    deep = {field["PASSWORD"]: "hunter2"}
    for _ in range(15):
        deep = {"in": deep}
        assert "hunter2" not in json.dumps(render(snapshot(deep), Rules()))


def test_what_a_structure_keeps_alive_is_no_field():
    """Its texts have no names there."""

    class Login(ctypes.Structure):
        _fields_ = [("user", ctypes.c_int), ("password", ctypes.c_char_p)]

    assert "hunter2" not in json.dumps(render(snapshot(Login(1, b"hunter2")), Rules()))


def test_the_password_of_a_url_in_its_parts():
    """As some libraries keep theirs."""
    parts = {"scheme": "http", "netloc": "ada:hunter2@db.example", "path": "/"}
    assert "ada:[redacted]@db.example" == render(snapshot(parts), Rules())["netloc"]
    assert "db.example:80" == render({"netloc": "db.example:80"}, Rules())["netloc"]


def test_the_tokens_of_a_language_model_are_no_secrets():
    """With a probability or a text beside it, a token is one of a model's."""
    for shown in (
        {"token": "cat", "logprob": -0.5, "top_logprobs": [{"token": "dog", "logprob": -1.0}]},
        {"token": 1996, "token_str": "the", "score": 0.5},
    ):
        assert shown == render(snapshot(shown), Rules())
    assert {"token": "[redacted]", "score": 1} == render(snapshot({"token": "abc", "score": 1}), Rules())


def test_headers_as_pairs_of_bytes_are_redacted():
    """The form in which ASGI has them."""
    shown = json.dumps(render(snapshot([(b"authorization", b"hunter2"), (b"accept", b"a")]), Rules()))
    assert "hunter2" not in shown
    assert "accept" in shown


def test_what_a_serializer_returns_is_redacted():
    capture = Capture(serializers={Account: lambda a: {"user": a.user, "password": a.password}})
    assert render(capture.snapshot([Account("u", "hunter2")]), Rules()) == [{"user": "u", "password": "[redacted]"}]


def test_secret_classes_are_redacted_without_being_asked():
    pydantic = pytest.importorskip("pydantic")
    from starlette.datastructures import Secret

    values = [pydantic.SecretStr("hunter2"), pydantic.SecretBytes(b"hunter2"), Secret("hunter2")]
    if hasattr(pydantic, "Secret"):
        values.append(pydantic.Secret[int](5))
    assert render(snapshot(values), Rules()) == ["[redacted]"] * len(values)


def test_the_key_of_multiprocessing_is_redacted():
    """Pools, processes and managers hold it, and who has it can run code in a manager."""
    key = multiprocessing.current_process().authkey
    for value in (key, multiprocessing.Process(target=print), multiprocessing.managers.BaseManager(("127.0.0.1", 0))):
        shown = repr(render(snapshot(value), Rules(Redactor(defaults=False))))
        assert "[redacted]" in shown
        assert "AuthenticationString" not in shown


@pytest.mark.parametrize("index", [["user", "password", "token"], [("a", "user"), ("a", "password"), ("token", "b")]])
def test_the_rows_of_a_series_and_of_a_frame_have_names_too(index):
    """A row of a frame is a series whose labels are the names of the columns, and a frame may lie on its side."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["me", "hunter2", None]], columns=index[:3], dtype=object)
    if type(index[0]) is tuple:
        frame.columns = pandas.MultiIndex.from_tuples(index)
    for rules in (Rules(), Rules(mask=lambda value, _: value)):
        row, turned = render(snapshot([frame.iloc[0], frame.T]), rules)
        assert row["head"] == ["me", "[redacted]", None]
        assert turned["head"] == [{"0": "me"}, "[redacted]", "[redacted]"]
        assert row["index"][1] in ("password", ["a", "password"])
    plain = {"index": ["a"], "head": ["x", "y"]}
    assert render(plain, Rules()) == plain
    assert render({"index": "token", "head": ["x"]}, Rules()) == {"index": "token", "head": ["x"]}


def test_the_levels_of_an_index_and_the_fields_of_a_record_have_names():
    """Also those of a record within a record, and of many of them."""
    pandas, np = pytest.importorskip("pandas"), pytest.importorskip("numpy")
    levels = pandas.MultiIndex.from_tuples([("ada", "hunter2", 1)], names=["user", "password", None])
    login = np.dtype([("user", "U10"), ("password", "U40")])
    records = np.array([(1, ("ada", "hunter2"), ["eve"] * 2)], [("id", "i4"), ("login", login), ("logins", login, 2)])
    index, array, record = render(snapshot([levels, records, records[0]]), Rules())
    assert index["head"] == [{"user": "ada", "password": "[redacted]", "level_2": 1}]
    assert array["values"][0]["logins"]["values"] == [{"user": "eve", "password": "[redacted]"}] * 2
    for shown in (array["values"][0], record):
        assert (shown["id"], shown["login"]) == (1, {"user": "ada", "password": "[redacted]"})


def test_what_fields_are_called_is_known_as_long_as_their_class(monkeypatch):
    """A program may make classes without end."""
    pydantic = pytest.importorskip("pydantic")
    monkeypatch.setattr(capture_aliases, "_MOST_CLASSES", 10)
    monkeypatch.setattr(capture_aliases, "_ALIASES", {})
    first = pydantic.create_model("First", k=(str, pydantic.Field(alias="api_key")))
    for number in range(30):
        assert "hunter2" not in json.dumps(render(snapshot(first(api_key="hunter2")), Rules()))
        other = pydantic.create_model(f"Other{number}", k=(str, pydantic.Field(alias="password")))
        assert "hunter2" not in json.dumps(render(snapshot(other(password="hunter2")), Rules()))
