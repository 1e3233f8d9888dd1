"""Secrets inside of texts: by their form, by the name before them, and on the edge of what is cut."""

from __future__ import annotations

import json
import random
import time
import timeit

import pytest

from pocketflow_tracing import render_cleaned
from pocketflow_tracing.capture import snapshot
from pocketflow_tracing.capture_types import Limits
from pocketflow_tracing.redaction import Redactor, Rules, redact_text
from pocketflow_tracing.redaction_data import scan_value
from pocketflow_tracing.redaction_shapes import scan
from pocketflow_tracing.render import render

SECRET_TEXTS = [
    ("api_key=hunter2secret", "api_key=[redacted]"),
    ("api key: hunter2secret next", "api key: [redacted] next"),
    ("{'api_key': 'hunter2 secret'} next", "{'api_key': '[redacted]'} next"),
    ('{"password": "hunter2", "a": 1}', '{"password": "[redacted]", "a": 1}'),
    (r'"{\"token\": \"hunter2\"}" z', r'"{\"token\": \"[redacted]\"}" z'),
    ('msg="token=hunter2"', 'msg="token=[redacted]"'),
    ("https://x/?access_token=hunter2&page=1", "https://x/?access_token=[redacted]&page=1"),
    ("Authorization: Bearer hunter2hunter2", "Authorization: [redacted]"),
    ("Authorization: Custom hunter2", "Authorization: [redacted]"),
    ("Cookie: a=hunter2; b=hunter2\nnext", "Cookie: [redacted]\nnext"),
    ("sent Bearer hunter2hunter2.x to", "sent Bearer [redacted] to"),
    ("Incorrect API key provided: sk-proj-abcdefghijklmnop1234", "Incorrect API key provided: [redacted]"),
    ("sk-lf-12345678-1234-1234-1234-123456789012", "[redacted]"),
    ("(sk-ant-api03-abcdefghijklmnop)", "([redacted])"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"),
    ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
    ("xoxb-123456789012-abcdef", "[redacted]"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def_", "[redacted]"),
    ("redis://:hunter2@host:1", "redis://:[redacted]@host:1"),
    (r'{"url":"https:\/\/u:hunter2@h\/x"}', r'{"url":"https:\/\/u:[redacted]@h\/x"}'),
    (r'"{\"url\":\"https:\\\/\\\/u:hunter2@h\"}"', r'"{\"url\":\"https:\\\/\\\/u:[redacted]@h\"}"'),
    ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256,A\n\nMIIhunter2\n-----END RSA PRIVATE KEY-----.", "[redacted]."),
    ("-----BEGIN PRIVATE KEY-----\nMIIhunter2 and no end", "[redacted]"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIhunter2\n-----END RSA PRIVATE KEY-----", "[redacted]"),
    ("curl -su me -u bob:hunter2 https://x", "curl -su me -u bob:[redacted] https://x"),
    ("CREATE USER x IDENTIFIED BY 'hunter2'; ALTER USER y WITH PASSWORD 'hunter2'", "CREATE USER x IDENTIFIED BY '[redacted]'; ALTER USER y WITH PASSWORD '[redacted]'"),
    ("x --token abcdef failed", "x --token [redacted] failed"),
    ("the password 'hunter22' is wrong", "the password '[redacted]' is wrong"),
    ("the password 'pass' is wrong", "the password '[redacted]' is wrong"),
    ("unexpected token 'yield', secret 'db-login' not found", "unexpected token 'yield', secret 'db-login' not found"),
    ("api key hunter22 is invalid", "api key [redacted] is invalid"),
    ("Invalid API key provided: hunter22.", "Invalid API key provided: [redacted]."),
    ("https://hooks.slack.com/services/T0/B0/hunter22", "https://hooks.slack.com/services/[redacted]"),
    ("https://discord.com/api/webhooks/12345/hunter22hunter22hunter22", "https://discord.com/api/webhooks/[redacted]"),
    ("https://api.telegram.org/bot123456:hunter22hunter22/send", "https://api.telegram.org/bot[redacted]/send"),
    ("https://hunter22hunter22hunter22@github.com/a.git", "https://[redacted]@github.com/a.git"),
    ("https://x/c?sv=1&sig=hunter22hunter22%3D", "https://x/c?sv=1&sig=[redacted]"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nhunter2\n-----END PGP PRIVATE KEY BLOCK-----", "[redacted]"),
    ("client-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlF", "client-data: [redacted]"),
    ("https://x/a?Expires=1&Signature=hunter22hunter22~x__&Key-Pair-Id=K", "https://x/a?Expires=1&Signature=[redacted]&Key-Pair-Id=K"),
    ("('password', 'hunter2')", "('password', '[redacted]')"),
    ("headers [(b'x-api-key', b'hunter2'), ('a', 'b')]", "headers [(b'x-api-key', b'[redacted]'), ('a', 'b')]"),
    ("Command '['mysql', '--password=hunter2', 'x']' failed", "Command '['mysql', '--password=[redacted]', 'x']' failed"),
    ("Command '['curl', '-u', 'me:hunter2', 'x']' failed", "Command '['curl', '-u', 'me:[redacted]', 'x']' failed"),
    ("curl -ume:hunter2 https://x", "curl -ume:[redacted] https://x"),
    ('run(["curl","-u","me:hunter2"])', 'run(["curl","-u","me:[redacted]"])'),
    ("-Dpassword=hunter2 x", "-Dpassword=[redacted] x"),
    ("java -Ddb.password=letters x", "java -Ddb.password=[redacted] x"),
    ("password -> hunter2, x", "password -> [redacted], x"),
    ("password == 'hunter2'", "password == '[redacted]'"),
    ("password=a,hunter2 x", "password=[redacted] x"),
    ("password=a&hunter2&b=c", "password=[redacted]&b=c"),
    ("password=a'hunter2, b=c", "password=[redacted], b=c"),
    ("U(password=Hidden('hunter2'), a='b')", "U(password=[redacted], a='b')"),
    ("password=('u', 'hunter2') x", "password=[redacted] x"),
    ("//npm.x/:_authToken=hunter2", "//npm.x/:_authToken=[redacted]"),
    ("Illegal header value b'hunter2\\n'", "Illegal header value b'[redacted]'"),
    ("return character(s) in header value: 'hunter2\\r\\n' x", "return character(s) in header value: '[redacted]' x"),
]  # fmt: skip

PLAIN_TEXTS = [
    "max_tokens=30, token_count: 5", "the token is expired", "task-sk-learn", "http://host:80/x@y", "basic idea", "a = b: c",
    "unexpected token 'return'", "https://someone@github.com/a.git", "--help --token TOKEN", "see https://x/botany:1",
    "from huggingface_hub import hf_hub_download_with_retries_and_cache", "secretary: Ann", "the header value 'gzip' is not supported", "risk-averse-and-very-long-hyphenated-word", "Basic income for all",
]  # fmt: skip

_BODY = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xYz1C"

_HEX = "0123456789abcdef" * 4

PREFIXED = [
    *(f"{prefix}{_BODY}" for prefix in (
        "tvly-", "tvly-dev-", "pplx-", "xai-", "r8_", "glpat-", "ya29.a0", "ya29.c.b0", "GOCSPX-", "xapp-1-A0-12-", "npm_", "rk_live_",
        "rk_test_", "whsec_", "ntn_", "lsv2_pt_", "lsv2_sk_", "hvs.", "jina_", "lin_api_", "figd_", "dckr_pat_", "sb_secret_", "nvapi-",
        "csk-", "hf_", "gsk_", "sk_live_", "sk-", "github_pat_", "pypi-AgE", "123456789\u5bc6\u94a5sk-",
    )),
    f"phx_{_BODY}", f"sntrys_{_BODY}", f"key-{_HEX[:32]}", f"NRAK-{_BODY}", f"dp.pt.{_BODY}", f"sq0atp-{_BODY}", f"pcsk_{_BODY[:6]}_{_BODY}", f"SG.{_BODY[:22]}.{_BODY}", f"dapi{_HEX[:32]}", f"dapi{_HEX[:32]}-2", f"sk_{_HEX[:48]}", f"fc-{_HEX[:32]}",
    f"dop_v1_{_HEX}", f"shpat_{_HEX[:32]}", f"fw_{_BODY[:22]}", f"pa-{_BODY}_1234567", f"secret_{_BODY}{_BODY[:8]}", f"e2b_{_HEX[:40]}",
    f"AGE-SECRET-KEY-1{_BODY.upper()}", f"whsec_{_BODY[:10]}/{_BODY}=", f"123456789:AA{_BODY[:33]}",
]  # fmt: skip

NO_KEYS = [
    "task_sk_learn_pipeline_of_many_words", f"pk_live_{_BODY}", f"sk_{_HEX}", f"sk_{_HEX[:32]}", f"file_{_HEX[:40]}", f"commit-{_HEX[:40]}",
    "npm_config_registry_of_the_company_proxy", "npm_package_dependencies_typescript", "secret_santa_in_the_house_of_a_friend_we_know_well",
    "hvs.configuration_of_the_cluster_in_words", "family-friendly-and-very-long-hyphenated-slug", "fc-barcelona-and-others-in-the-league-2026",
    "the pa-system-of-the-railway-station-is-out-of-order", "xai-for-the-explanation-of-models-in-medicine-2024", "adapi" + _HEX[:32],
    "12:30:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", f"550e8400-e29b-41d4-a716-{_HEX[:12]}", "my_npm_" + _BODY, "SG.documentation.of_it",
    "fw_configuration_manager_for_all_of_them", "pypi-packages-that-are-of-great-interest-1", "shpat_of_the_store_in_the_middle_of_it",
]  # fmt: skip


@pytest.mark.parametrize("key", PREFIXED)
def test_keys_of_providers_are_known_by_their_form(key):
    """Whatever stands around them: in prose, in an error, in a cell, twice in a row."""
    public = "123456789:" if ":AA" in key else "123456789\u5bc6\u94a5" if key[0] == "1" else ""
    shown = f"{public}[redacted]"
    assert redact_text(f"use {key} please ({key})", Rules()) == f"use {shown} please ({shown})"
    assert render({"note": f"{key}\n{key}"}, Rules()) == {"note": f"{shown}\n{shown}"}


@pytest.mark.parametrize("text", NO_KEYS)
def test_names_and_hashes_are_no_keys(text):
    assert render({"note": f"see {text} there"}, Rules()) == {"note": f"see {text} there"}


@pytest.mark.parametrize(("text", "expected"), SECRET_TEXTS)
def test_secrets_in_free_text_are_replaced(text, expected):
    assert redact_text(text, Rules()) == expected
    assert redact_text(redact_text(text, Rules()), Rules()) == expected


DATA_TEXTS = [
    ("https://x/?api_key=hunter2&page=1", "https://x/?api_key=[redacted]&page=1"),
    ("(see https://x/a?page=1&access_token=hunter2)", "(see https://x/a?page=1&access_token=[redacted])"),
    ("api_key=hunter2&x=1", "api_key=[redacted]&x=1"),
    ('{"api_key":"hunter2","q":1}', '{"api_key":"[redacted]","q":1}'),
    (r'{"a": "{\"api_key\": \"hunter2\"}"}', r'{"a": "{\"api_key\": \"[redacted]\"}"}'),
    ("{'password': 'hunter2 x', 'n': 1}", "{'password': '[redacted]', 'n': 1}"),
    ('{"token": 12345, "password": null, "auth": true}', '{"token": [redacted], "password": null, "auth": true}'),
    ('{"credentials": {"user": "u", "k": ["hunter2"]}, "z": 1}', '{"credentials": [redacted], "z": 1}'),
    ('A=1\nexport DB_PASSWORD="hunter2 x"\nMAX_TOKENS=5\nB_TOKEN=hunter2', 'A=1\nexport DB_PASSWORD="[redacted]"\nMAX_TOKENS=5\nB_TOKEN=[redacted]'),
    ("curl -H 'x-api-key: hunter2hunter' https://x", "curl -H 'x-api-key: [redacted]' https://x"),
    ("Authorization: Token hunter2hunter2\nnext", "Authorization: [redacted]\nnext"),
    ("Set-Cookie: sid=hunter2; Path=/", "Set-Cookie: [redacted]"),
    ("sent Bearer hunter2hunter2.x to", "sent Bearer [redacted] to"),
    ('{ "password" : "hunter2", "n" : 1 }', '{ "password" : "[redacted]", "n" : 1 }'),
    ("{'a': 1, 'api_key'   : 'hunter2'}", "{'a': 1, 'api_key'   : '[redacted]'}"),
    (r'"{\"token\" :\"hunter2\"}"', r'"{\"token\" :\"[redacted]\"}"'),
    ("https://h/cb#access_token=hunter2&state=1", "https://h/cb#access_token=[redacted]&state=1"),
    ("https://h/cb?q=#state=1&id_token=hunter2", "https://h/cb?q=#state=1&id_token=[redacted]"),
    ("https://h/cb?q=#id_token=hunter2", "https://h/cb?q=#id_token=[redacted]"),
    ('{"user": "ada", "password": f"hunter2 x"}', '{"user": "ada", "password": f"[redacted]"}'),
    ("{'password': rb'hunter2'}", "{'password': rb'[redacted]'}"),
    ('{"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}', '{"env": [{"name": "DB_PASSWORD", "value": "[redacted]"}]}'),
    ("env:\n- name: DB_PASSWORD\n  value: hunter2\n- name: A\n  value: b\n", "env:\n- name: DB_PASSWORD\n  value: [redacted]\n- name: A\n  value: b\n"),
    ("tool --token hunter2x run", "tool --token [redacted] run"),
    ("tool --password hunter", "tool --password [redacted]"),
    ("tool --password hunter --verbose", "tool --password [redacted] --verbose"),
    ("tool --api-key 'hun ter' run", "tool --api-key '[redacted]' run"),
    ("host=db user=me password=hunter2 dbname=x", "host=db user=me password=[redacted] dbname=x"),
    ("password=hunter2 dbname=x", "password=[redacted] dbname=x"),
    ("Endpoint=https;AccountName=a;AccountKey=hun/ter==;Suffix=x", "Endpoint=https;AccountName=a;AccountKey=[redacted];Suffix=x"),
    ("DRIVER={ODBC};UID=u;PWD=hunter2", "DRIVER={ODBC};UID=u;PWD=[redacted]"),
    ("BlobEndpoint=https://a;SharedAccessSignature=sv=1&sig=hunter%3D;A=b", "BlobEndpoint=https://a;SharedAccessSignature=[redacted];A=b"),
    ("SharedAccessSignature=sv=1&sig=hunter%3D", "SharedAccessSignature=[redacted]"),
    ("a.redis.example:6380,password=hun7/ter=,ssl=True,abortConnect=False", "a.redis.example:6380,password=[redacted],ssl=True,abortConnect=False"),
    ("c = 'redis:6379,ssl=True,password=hunter2'", "c = 'redis:6379,ssl=True,password=[redacted]'"),
    ("helm install --set image.tag=1,db.password=hunter2 x", "helm install --set image.tag=1,db.password=[redacted] x"),
    ("INFO:root:password=hunter2", "INFO:root:password=[redacted]"),
    ("ValueError: api_key: hunter2", "ValueError: api_key: [redacted]"),
    ("app: token: hunter2\nand more", "app: token: [redacted]\nand more"),
    ("user=bob\npassword=hunter2\nspring.db.password=hunter2\n", "user=bob\npassword=[redacted]\nspring.db.password=[redacted]\n"),
    ("API_KEY = hunter22\nb = 1", "API_KEY = [redacted]\nb = 1"),
    ('[db]\npassword = "hunter"\n', '[db]\npassword = "[redacted]"\n'),
    ("db:\n  password: hunter22\n  token: 'a b' # x", "db:\n  password: [redacted]\n  token: '[redacted]' # x"),
    ("env:\n  - API_KEY=hunter2\nENV B_TOKEN=hunter2\nset C_TOKEN=hunter2\r\n", "env:\n  - API_KEY=[redacted]\nENV B_TOKEN=[redacted]\nset C_TOKEN=[redacted]\r\n"),
    ('$env:API_KEY="hunter2"', '$env:API_KEY="[redacted]"'),
    ("<db><password>hunter2</password><ns:token a='b'>x</ns:token></db>", "<db><password>[redacted]</password><ns:token a='b'>[redacted]</ns:token></db>"),
    ('<add key="password" value="hunter2"/><db password="hunter2"/>', '<add key="password" value="[redacted]"/><db password="[redacted]"/>'),
    ("<password><![CDATA[hunter2]]></password>", "<password>[redacted]</password>"),
    ('<entry key="password">hunter2</entry>', '<entry key="password">[redacted]</entry>'),
    ("<key>password</key>\n<string>hunter2</string>", "<key>password</key>\n<string>[redacted]</string>"),
    ("db:\n  password: |\n    hunter2\n    x\n  other: y", "db:\n  password: | [redacted]\n  other: y"),
    ('[{"value": "hunter2", "name": "DB_PASSWORD"}]', '[{"value": "[redacted]", "name": "DB_PASSWORD"}]'),
    ('[{"name": "sid", "value": "hunter2", "domain": "x.com"}]', '[{"name": "sid", "value": "[redacted]", "domain": "x.com"}]'),
    ("FROM x\nENV DB_PASSWORD hunter2\nRUN y", "FROM x\nENV DB_PASSWORD [redacted]\nRUN y"),
    ("setx OPENAI_API_KEY hunter2", "setx OPENAI_API_KEY [redacted]"),
    ('$env:API_KEY = "hunter2"', '$env:API_KEY = "[redacted]"'),
    ("export client_secret=hunter2", "export client_secret=[redacted]"),
    ("docker run -e db_password=hunter2 x", "docker run -e db_password=[redacted] x"),
    ("kubectl create secret generic a --from-literal=password=hunter2", "kubectl create secret generic a --from-literal=password=[redacted]"),
    ("heroku config:set api_key=hunter2", "heroku config:set api_key=[redacted]"),
    ("ARG api_token=hunter2\nRUN x", "ARG api_token=[redacted]\nRUN x"),
    ("os.environ['OPENAI_API_KEY'] = 'hunter2'", "os.environ['OPENAI_API_KEY'] = '[redacted]'"),
    ('["mysqldump", "--password", "hun ter", "db"]', '["mysqldump", "--password", "[redacted]", "db"]'),
    (r'{"argv": "[\"a\", \"--token\", \"hunter2\"]"}', r'{"argv": "[\"a\", \"--token\", \"[redacted]\"]"}'),
    ("Command '['x', '--api-key', 'hunter2']' returned 1", "Command '['x', '--api-key', '[redacted]']' returned 1"),
    ("[('X-Api-Key', 'hunter2'), ('a', 'b')]", "[('X-Api-Key', '[redacted]'), ('a', 'b')]"),
    ('[["x-api-key", "hunter2"]]', '[["x-api-key", "[redacted]"]]'),
    ("[(b'x-api-key', b'hunter2')]", "[(b'x-api-key', b'[redacted]')]"),
    ('x = 1\npassword    = "hunter2"\nhost        = "h"\n', 'x = 1\npassword    = "[redacted]"\nhost        = "h"\n'),
    ('auth = { user = "u", token = "hunter2" }', 'auth = { user = "u", token = "[redacted]" }'),
    ("const c = { host: 'x', password: 'hunter2' }", "const c = { host: 'x', password: '[redacted]' }"),
    ("1 error for S\ndb_password\n  Extra inputs are not permitted [type=x, input_value='hun ter', input_type=str]", "1 error for S\ndb_password\n  Extra inputs are not permitted [type=x, input_value=[redacted], input_type=str]"),
    (r'{"user": "u", "password": "aa\"hunter2"}', '{"user": "u", "password": "[redacted]"}'),
    (r'{"password": "hunter2\\"}', '{"password": "[redacted]"}'),
    (r"""{'password': 'a\'b"hunter2', 'user': 'u'}""", "{'password': '[redacted]', 'user': 'u'}"),
    (r'{"body": "{\"password\": \"aa\\\"hunter2\", \"a\": 1}"}', r'{"body": "{\"password\": \"[redacted]\", \"a\": 1}"}'),
    ('{"credentials": {"user": "u", "pass": "a}hunter2"}, "n": 1}', '{"credentials": [redacted], "n": 1}'),
    ('{"credentials": {"greeting": ":)", "key": "hunter2"}, "n": 1}', '{"credentials": [redacted], "n": 1}'),
    ("{'credentials': {'greeting': 'it\\'s (', 'key': 'hunter2'}, 'n': 1}", "{'credentials': [redacted], 'n': 1}"),
    ('{"secrets": {' + '"a": "hunter2", ' * 2000 + '"b": 1}, "n": 1}', '{"secrets": [redacted], "n": 1}'),
    ('{"env":[{"name":"DB_PASSWORD","value":"hunter2"},{"name":"HOME","value":"x"}]}', '{"env":[{"name":"DB_PASSWORD","value":"[redacted]"},{"name":"HOME","value":"x"}]}'),
    ('{"name": "DB_PASSWORD", "value": "correct hunter2, battery"}', '{"name": "DB_PASSWORD", "value": "[redacted]"}'),
    ('{"Name": "DB_PASSWORD", "Value": "hunter2"}', '{"Name": "DB_PASSWORD", "Value": "[redacted]"}'),
    ('{"key": "API_KEY", "type": "text", "enabled": true,\n' + 60 * " " + '"value": "hunter2"}', '{"key": "API_KEY", "type": "text", "enabled": true,\n' + 60 * " " + '"value": "[redacted]"}'),
    (r'{"body": "{\"name\": \"DB_PASSWORD\", \"value\": \"hunter2\"}"}', r'{"body": "{\"name\": \"DB_PASSWORD\", \"value\": \"[redacted]\"}"}'),
    ("- name: DB_PASSWORD\n  value: hunter2\n- name: HOME\n  value: x", "- name: DB_PASSWORD\n  value: [redacted]\n- name: HOME\n  value: x"),
    (r"""[tool] x = 1 {token: "aa\"hunter2"}""", '[tool] x = 1 {token: "[redacted]"}'),
    ('<input name="password" type="password" value="hunter2">', '<input name="password" type="password" value="[redacted]">'),
    ('password="""hunter2 "x" y"""\n', 'password="[redacted]"""\n'),
    ("E\n[SQL: INSERT INTO u (name, password) VALUES (?, ?)]\n[parameters: ('me', 'hunter2')]\n(Background)", "E\n[SQL: INSERT INTO u (name, password) VALUES (?, ?)]\n[parameters: [redacted]]\n(Background)"),
    ('secrets:\n  - hunter2\n  - "a b"\nn: hunter2\n', 'secrets:\n  - [redacted]\n  - "[redacted]"\nn: hunter2\n'),
    ("a:\n  passwords: # two\n  - hunter2\n  - hunter3\n  n:\n  - hunter2\n", "a:\n  passwords: # two\n  - [redacted]\n  - [redacted]\n  n:\n  - hunter2\n"),
    ("Here:\n```yaml\nauth:\n  basic:\n    user: u\n    x: hunter2\n\n    y: hunter3\n```\nhunter2", "Here:\n```yaml\nauth:\n  basic:\n    user: u\n    x: [redacted]\n\n    y: [redacted]\n```\nhunter2"),
    ("- password:\n    hunter2\n- x: hunter2\n", "- password:\n    [redacted]\n- x: hunter2\n"),
    ("secrets:\n  a: hunter2\ncredentials:\n  b: hunter3\n# c\npasswords:\n- hunter4\n", "secrets:\n  a: [redacted]\ncredentials:\n  b: [redacted]\n# c\npasswords:\n- [redacted]\n"),
    ("x:\n  secrets:\n    a: hunter2\n\n  credentials:\n    b: hunter3\n", "x:\n  secrets:\n    a: [redacted]\n\n  credentials:\n    b: [redacted]\n"),
    ("password: hunter2\n\ncredentials:\n  a: hunter3\n", "password: [redacted]\n\ncredentials:\n  a: [redacted]\n"),
    ("- api_keys:\n  - hunter2\n  name: hunter2\n- n:\n  - hunter2\n", "- api_keys:\n  - [redacted]\n  name: hunter2\n- n:\n  - hunter2\n"),
    ("[credentials]\nuser=hunter2\nk='hunter3'\n[n]\nuser=hunter2\n", "[credentials]\nuser=[redacted]\nk='[redacted]'\n[n]\nuser=hunter2\n"),
    ("mvn -Dgpg.passphrase=hunter2 -DTOKEN=hunter2 -Dn=hunter2", "mvn -Dgpg.passphrase=[redacted] -DTOKEN=[redacted] -Dn=hunter2"),
    ("terraform apply -var=api_key=hunter2 -var=n=hunter2", "terraform apply -var=api_key=[redacted] -var=n=hunter2"),
    ('credentials:\n  passwords: [hunter2, hunter3]\n  password: "a\n    b"\n', 'credentials:\n  passwords: [[redacted], [redacted]]\n  password: "[redacted]"\n'),
    ("- credentials:\n  - passwords: {a: hunter2}\n", "- credentials:\n  - passwords: {a: [redacted]}\n"),
    ("[credentials]\npin=123456\nk=$ecret123\nkey2=correcthorse\nport=80\n", "[credentials]\npin=[redacted]\nk=[redacted]\nkey2=[redacted]\nport=[redacted]\n"),
    ("secrets: [hunter2, b]\nn: [hunter2]", "secrets: [[redacted], b]\nn: [hunter2]"),
    ("credentials: {user: u, k: hunter2}", "credentials: {user: u, k: [redacted]}"),
    ('secrets = [\n  "hunter2",\n  "x",\n]\nn = ["hunter2"]\n', 'secrets = [\n  "[redacted]",\n  "x",\n]\nn = ["hunter2"]\n'),
    ('[credentials]\nuser = u\nk = "hunter2"\n\n[other]\nk = "hunter2"\n', '[credentials]\nuser = u\nk = "[redacted]"\n\n[other]\nk = "hunter2"\n'),
    ('password = """hunter2 "x" y"""\nn = 1', 'password = """[redacted]"""\nn = 1'),
    ('password: "hunter\n  two"\nn: "x"', 'password: "[redacted]"\nn: "x"'),
    ("password = hunter2\n  hunter3\nn = hunter2", "password = [redacted]\n  [redacted]\nn = hunter2"),
    ("password: &p hunter2\ntoken: !!str hunter2\nn: *p", "password: &p [redacted]\ntoken: !!str [redacted]\nn: *p"),
    ('"password": hunter2\n', '"password": [redacted]\n'),
    ("env:\n  - value: hunter2\n    name: API_KEY\n  - value: b\n    name: A\n", "env:\n  - value: [redacted]\n    name: API_KEY\n  - value: b\n    name: A\n"),
    ("<secrets><item>hunter2</item><item>\n hunter3</item></secrets><n>hunter2</n>", "<secrets><item>[redacted]</item><item>\n [redacted]</item></secrets><n>hunter2</n>"),
    ("<password >\n  hunter2\n</password>", "<password >\n  [redacted]\n</password>"),
    ('<add value="hunter2" key="password"/><add value="hunter2" key="n"/>', '<add value="[redacted]" key="password"/><add value="hunter2" key="n"/>'),
    ("<param><name>password</name><value>hunter2</value></param>", "<param><name>password</name><value>[redacted]</value></param>"),
    ('<meta name="csrf-token" content="hunter2">', '<meta name="csrf-token" content="[redacted]">'),
    (r'{"content": "A=1\nAPI_KEY=hunter2\nexport B_TOKEN=hunter2\nn=hunter2"}', r'{"content": "A=1\nAPI_KEY=[redacted]\nexport B_TOKEN=[redacted]\nn=hunter2"}'),
    (r'{"content": "db:\n  password: hunter22\n  secrets:\n    - hunter2\nn: 1\n"}', r'{"content": "db:\n  password: [redacted]\n  secrets:\n    - [redacted]\nn: 1\n"}'),
    (r'{"content": "GET / HTTP/1.1\nX-Api-Key: hunter2hunter\nHost: a\n\n"}', r'{"content": "GET / HTTP/1.1\nX-Api-Key: [redacted]\nHost: a\n\n"}'),
    (r'{"content": "x=1\n[credentials] # x\nk = \"hunter2\"\n[a]\nk = 1"}', r'{"content": "x=1\n[credentials] # x\nk = \"[redacted]\"\n[a]\nk = 1"}'),
    (r'{"content": "x=1\npassword = \"hunter2\"\ntoken: \"a b\"\n"}', r'{"content": "x=1\npassword = \"[redacted]\"\ntoken: \"[redacted]\"\n"}'),
    (r'{"content": "x: 1\npassword: |\n  hunter2\n  x\nn: y\n"}', r'{"content": "x: 1\npassword: | [redacted]\nn: y\n"}'),
    ("[client]\npassword : hunter22\n", "[client]\npassword : [redacted]\n"),
    ("  [ credentials ]\n  k = 'hunter2'\n  [a]\n  k = 'hunter2'\n", "  [ credentials ]\n  k = '[redacted]'\n  [a]\n  k = 'hunter2'\n"),
    ('{"password": {"type": "hunter2"}}', '{"password": [redacted]}'),
    ("DETAIL:  Key (tenant, api_key)=(1, hunter2) already exists.\n", "DETAIL:  Key (tenant, api_key)=([redacted]) already exists.\n"),
    ('Key (lower(token::text))=(hun)ter2) is not present in table "a". Key (id)=(1) is still referenced', 'Key (lower(token::text))=([redacted]) is not present in table "a". Key (id)=(1) is still referenced'),
    ("(1062, \"Duplicate entry '1-hun'ter2' for key 'users.api_key'\")", "(1062, \"Duplicate entry '[redacted]' for key 'users.api_key'\")"),
]  # fmt: skip

PROSE_AND_CODE = [
    *PLAIN_TEXTS, "password: at least 8 characters", "the token: a thing", "token = next(tokens)", "f(password=value, token=t)",
    "if a[b]==c: x", "Authorization: you may need it", "The cookie: tasty", "def f(token: str) -> int: pass", "MAX_TOKENS=5",
    '{"max_tokens": 5, "author": "me"}', "https://x/?max_tokens=5&q=token", "use Bearer authentication please", "see x-ray: something",
    "a token? yes & password=zzz of course", "le mot de passe : huit", " : x", "# token = next(tokens)",
    "use --token to log in", "password: str\ntoken: Token\n", "token = config.v2.token\n", "f(a=1, token=token)", "  --token TOKEN\n",
    "<p>the token</p><label name='x'>y</label>", 'x = 1\npassword = ""\n', "the password 'admin1' is weak", "run -u me:you now",
    'u, password = raw.split(":", 1)\ntoken = x["a"]', "if kind == 'password': return self.login(request)", "case 'token': return visit(node)",
    'post(json={"user": user, "password": password})', "--username and --password options\n", 'the next "token": for instance cat',
    ".sk-toggleable__content-arrow {}", "div.sk-estimator-doc-link", '[{"token": "cat", "logprob": -0.5}]',
    'a "token" is meant: it ends', "https://h/x#section=2&q=token",
    '[{"value": "red", "name": "color"}]', '{"name": "DB_PASSWORD", "value": null}', '{"name": "password"}, {"value": "x"}', "value: 5\n- name: TOKEN", "text: |\n  hello\nnext: >\n  you\n", '<p class="key">password</p>', "<key>title</key><string>x</string>",
    "os.environ['HOME'] = 'x'", "use -e password of course", "rows['token'] = next(tokens)",
    '["ls", "--color", "auto"]', "CHOICES = [('password', 'Password'), ('token', 'Token')]", "f({ name: 'x' })",
    "name\n  Input should be valid [type=x, input_value='Ada', input_type=str]", "[SQL: SELECT 1 FROM t WHERE a = ?]\n[parameters: ('me',)]",
    "Key (email)=(ada@x.org) already exists.", "Duplicate entry 'ada' for key 'users.name'", "Key (token) = 5",
    '{"properties":{"password":{"type":"string"},"token":{"type": "string", "description": "of the user"}}}', r"print('\n'.join(tokens))\nC:\new\token",
    "Password:\n- at least 8 characters\n- one digit, such as 7\n- no name\n", "token:\n    return self.tokens[index]\n",
    "tokens = [t.strip() for t in text.split('\\n')]\nx = 1\n", "tokens = [\n    tokenizer.encode(x),\n]\n", "def token(\n    self,\n    first_token: str,\n):\n    pass\n",
    "<Auth>\n  <Login user={user} />\n  some text\n</Auth>", '<meta name="author" content="Ada 1815">', "secret: >\n", "[token]\nis a word\n", "the password:\n\nwas long\n",
    "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----", "certificate: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), DATA_TEXTS)
def test_secrets_by_name_in_texts_that_are_data(text, expected):
    """A value's text is searched for the names of secrets where it is JSON, a URL, an environment file or a header."""
    assert render({"text": text}, Rules()) == {"text": expected}
    assert render({"text": expected}, Rules()) == {"text": expected}
    assert render({"text": text}, Rules(Redactor(defaults=False))) != {"text": expected} or "Bearer" in text


LINE_TEXTS = [
    ('"credentials":\n  user: a\n  key: hunter2\n', '"credentials":\n  user: a\n  key: [redacted]\n'),
    ("users:\n  - {name: ada, password: hunter2}\n", "users:\n  - {name: ada, password: [redacted]}\n"),
    ("credentials:\n# for now\n  k: hunter2\nn: hunter2\n", "credentials:\n# for now\n  k: [redacted]\nn: hunter2\n"),
    ('"password" = "hunter2"\n', '"password" = "[redacted]"\n'),
    ('["credentials"]\nk = "hunter2"\n', '["credentials"]\nk = "[redacted]"\n'),
    ("[Service]\nEnvironment=DB_PASSWORD=hunter2 A=b\n", "[Service]\nEnvironment=DB_PASSWORD=[redacted] A=b\n"),
    ('"Password"="hunter2"\r\n', '"Password"="[redacted]"\r\n'),
    ('<user password = "hunter2" n = "x"/>', '<user password = "[redacted]" n = "x"/>'),
    ("<secrets><a><![CDATA[hunter2]]></a></secrets>", "<secrets><a><![CDATA[[redacted]]]></a></secrets>"),
    ('<property name="password"><value>hunter2</value></property>', '<property name="password"><value>[redacted]</value></property>'),
    ("<key>Passwords</key>\n<array><string>hunter2</string></array><string>hunter2</string>", "<key>Passwords</key>\n<array><string>[redacted]</string></array><string>hunter2</string>"),
    ("     1\ta: hunter2\n     2\tpassword: hunter2\n     3\tapi_keys:\n     4\t  - hunter2\n", "     1\ta: hunter2\n     2\tpassword: [redacted]\n     3\tapi_keys:\n     4\t  - [redacted]\n"),
    ("12 | x = 1\n13 | password: |\n14 |   hunter2\n15 |   x\n16 | n: 1\n", "x = 1\npassword: | [redacted]\nn: 1\n"),
    ("a.yml:12:password: hunter2", "a.yml:12:password: [redacted]"),
    ("a.yml-11-api_keys:\na.yml:12:  - hunter2\na.yml-13-n: hunter2\n", "a.yml-11-api_keys:\na.yml:12:  - [redacted]\na.yml-13-n: hunter2\n"),
    ("--- a/x.yml\n+++ b/x.yml\n@@ -1,2 +1,3 @@\n credentials:\n-  k: hunter2\n+  k: hunter3\n+API_KEY=hunter4\n", "--- a/x.yml\n+++ b/x.yml\n@@ -1,2 +1,3 @@\n credentials:\n-  k: [redacted]\n+  k: [redacted]\n+API_KEY=[redacted]\n"),
    ("> credentials:\n>   k: hunter2\n> API_KEY=hunter2\nSee above", "> credentials:\n>   k: [redacted]\n> API_KEY=[redacted]\nSee above"),
    ("one\ntwo\n+password: hunter2\n+API_KEY=hunter2\n", "one\ntwo\n+password: [redacted]\n+API_KEY=[redacted]\n"),
    ('id,password,n\n1,x,hunter2\n2,"a,b",hunter2\n3\nx,y,z\n', "id,password,n\n1,[redacted],hunter2\n2,[redacted],hunter2\n3\nx,y,z\n"),
    ("Rows:\n\nname;api key\nada;hunter2\nbob;none\n", "Rows:\n\nname;api key\nada;[redacted]\nbob;none\n"),
    ("id\ttoken\n1\thunter2\n2\thunter3\n", "id\ttoken\n1\t[redacted]\n2\t[redacted]\n"),
    (" id | password \n----+----------\n  1 | hunter2\n(1 row)\n", " id | password \n----+----------\n  1 | [redacted]\n(1 row)\n"),
    ("id|token\n1|hunter2\n2|b\n", "id|token\n1|[redacted]\n2|[redacted]\n"),
    ("| user | API key |\n|:--|--:|\n| ada | x y |\n| bob | hunter2 |\n\n| a | hunter2 |", "| user | API key |\n|:--|--:|\n| ada | [redacted] |\n| bob | [redacted] |\n\n| a | hunter2 |"),
    ("| **Password** | `hunter2` |\n| n | hunter2 |\n", "| **Password** | `[redacted]` |\n| n | hunter2 |\n"),
    ("INSERT INTO users (name, password) VALUES\n  ('it''s, a', 'hunter''2'),\n  ('b', NULL);", "INSERT INTO users (name, password) VALUES\n  ('it''s, a', [redacted]),\n  ('b', NULL);"),
    ("UPDATE users SET password = 'hunter2' WHERE id = 'x'", "UPDATE users SET password = '[redacted]' WHERE id = 'x'"),
    ('Content-Disposition: form-data; name="password"\r\n\r\nhunter2\r\n--x', 'Content-Disposition: form-data; name="password"\r\n\r\n[redacted]\r\n--x'),
    ("**Password:** hunter2\n- **API key**: `hunter3`\nAPI key: `hunter4`.", "**Password:** [redacted]\n- **API key**: `[redacted]`\nAPI key: `[redacted]`."),
    ("the password is hunter2. My API key was: 'hunter3', I think", "the password is [redacted]. My API key was: '[redacted]', I think"),
    ("Incorrect API key provided: hunter2. Try", "Incorrect API key provided: [redacted]. Try"),
    ('{"m": "Incorrect API key provided: hunter2"}', '{"m": "Incorrect API key provided: [redacted]"}'),
    ("Request body: client_secret=hunter2&grant_type=x", "Request body: client_secret=[redacted]&grant_type=x"),
    ("body=client_secret=hunter2&grant_type=x", "body=client_secret=[redacted]&grant_type=x"),
    ("POST /login password=hunter2&user=1 200", "POST /login password=[redacted]&user=1 200"),
    ("ValueError('password=hunter2')", "ValueError('password=[redacted]')"),
    ("ValueError('api_key: hunter2')", "ValueError('api_key: [redacted]')"),
    ('String password = "hunter2";', 'String password = "[redacted]";'),
    ("token: str | None = 'hunter2'", "token: str | None = '[redacted]'"),
    ("f(password: 'hunter2', n: 'x')", "f(password: '[redacted]', n: 'x')"),
    ("'password' => 'hunter2',\n:token => \"hunter2\"", "'password' => '[redacted]',\n:token => \"[redacted]\""),
    ('password := "hunter2"', 'password := "[redacted]"'),
    ('["a",\n  "--password-store=hunter2",\n  "--x"]\n', '["a",\n  "--password-store=[redacted]",\n  "--x"]\n'),
    ('["-y","srv","--api-key","hunter2"]', '["-y","srv","--api-key","[redacted]"]'),
    (r'{"c": "{\"args\":[\"--api-key\",\"hunter2\"]}"}', r'{"c": "{\"args\":[\"--api-key\",\"[redacted]\"]}"}'),
    ("args:\n  - --api-key\n  - hunter2\n  - --n\n  - x\n", "args:\n  - --api-key\n  - [redacted]\n  - --n\n  - x\n"),
    ('connect("password=hunter2 dbname=test")', 'connect("password=[redacted] dbname=test")'),
    ("ALTER USER x PASSWORD 'hunter2'; SELECT 'hunter2'", "ALTER USER x PASSWORD '[redacted]'; SELECT 'hunter2'"),
    ("create role app with login\n nosuperuser password 'hunter2' valid until '2030'", "create role app with login\n nosuperuser password '[redacted]' valid until '2030'"),
    ("CREATE LOGIN x WITH PASSWORD = N'hunter2', CHECK_POLICY = OFF", "CREATE LOGIN x WITH PASSWORD = N'[redacted]', CHECK_POLICY = OFF"),
    ('CREATE USER a IDENTIFIED BY "hunter2"', 'CREATE USER a IDENTIFIED BY "[redacted]"'),
    ("GRANT ALL ON a.* TO u IDENTIFIED BY hunter2;", "GRANT ALL ON a.* TO u IDENTIFIED BY [redacted];"),
    ("SET PASSWORD FOR 'bob'@'%' = PASSWORD('hunter2')", "SET PASSWORD FOR 'bob'@'%' = PASSWORD('[redacted]')"),
    ("CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'bob', password 'hunter2')", "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'bob', password '[redacted]')"),
    ("CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'hunter2')", "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET '[redacted]')"),
    ("docker login -u a -p hunter2 x && sshpass -p hunter2 ssh -p 22 x", "docker login -u a -p [redacted] x && sshpass -p [redacted] ssh -p 22 x"),
    ("redis-cli -h x -a hunter2 get y; mysql -u a -phunter2 db", "redis-cli -h x -a [redacted] get y; mysql -u a -p[redacted] db"),
    ("\ufeffname,password\na,hunter2\n", "\ufeffname,password\na,[redacted]\n"),
    ("\ufeffOPENAI_API_KEY=hunter2\n", "\ufeffOPENAI_API_KEY=[redacted]\n"),
    ("PATH=/bin\0API_KEY=hunter2\0HOME=/a\0", "PATH=/bin\0API_KEY=[redacted]\0HOME=/a\0"),
    ('curl -d "password=hunter2&user=a" -F token=hunter2 x', 'curl -d "password=[redacted]&user=a" -F token=[redacted] x'),
    ("const token = `hunter2`;\n", "const token = [redacted];\n"),
    ("\x1b[36mapi_key\x1b[0m=\x1b[35mhunter2\x1b[0m n=1", "api_key=[redacted] n=1"),
    ("id,subject,kind\n1,reset password,password\n2,a,token\nx,y,z\n\nid,token\n1,hunter2\n", "id,subject,kind\n1,reset password,password\n2,a,token\nx,y,z\n\nid,token\n1,[redacted]\n"),
    ("environment:\n  POSTGRES_PASSWORD: postgres\n  A_B: postgres\n", "environment:\n  POSTGRES_PASSWORD: [redacted]\n  A_B: postgres\n"),
    ("password: hunter2'bc,d8\n", "password: [redacted]\n"),
    (",name,password\n0,ada,hunter2\n1,bob,x\n", ",name,password\n0,ada,[redacted]\n1,bob,[redacted]\n"),
    ("Ünvan,name (full),password,\nÄ,a,hunter2,\n", "Ünvan,name (full),password,\nÄ,a,[redacted],\n"),
    ("API Key: hunter2\n1. Password: hunter2\n[INFO] my secret: hunter2", "API Key: [redacted]\n1. Password: [redacted]\n[INFO] my secret: [redacted]"),
    ("2026-01-01 INFO api_key=hunter2 loaded\nuser: me, password: hunter2.", "2026-01-01 INFO api_key=[redacted] loaded\nuser: me, password: [redacted]."),
    ("it's password='hunter2'\n", "it's password='[redacted]'\n"),
    ("curl x \\\n  --password \\\n  hunter2\n", "curl x \\\n  --password \\\n  [redacted]\n"),
    (r'{"content": "x\nid,token\n1,hunter2\n\n> a: 1\n> password: hunter2\n"}', r'{"content": "x\nid,token\n1,[redacted]\n\n> a: 1\n> password: [redacted]\n"}'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LINE_TEXTS)
def test_secrets_by_name_in_lines_and_rows(text, expected):
    """Behind line numbers, in diffs and quotes, in tables, in lists of Markdown and in code; in messages of errors as well."""
    assert scan_value(text, Rules().redact.hits) == expected
    if "hunter2" not in expected:
        assert "hunter2" not in redact_text(text, Rules())


LINES_OF_PROSE = [
    "from a import b, password, c\nfrom d import e, f, g\n", "f(\n    a, token, b,\n    c, d, e,\n)\n", "user, password, and more\nof them, and, so on",
    "name,tokens_used\na,hunter2\n", "| a | b |\n|---|---|\n| token | x |\n", "| password | the password of the user |\n", "INSERT INTO t (a, b) VALUES ('x', 'hunter2')",
    "INSERT INTO t (password) VALUES (?)", 'form-data; name="a"\n\nhunter2', "**Password:** required\n**Token**: `string`", "the token is needed1ater( or so", "the token is expired",
    "no password provided: required", 'token = "." + x', "token = f'{a}:{b}'", 'password = "".join(x)', "token = '.'.join(x)", 'if token == "hunter2": pass',
    "docker run -p 80:80 x", "mysql -u a -p db", "create user accounts; a password 'x'", "users identified by name", "- --verbose\n- x\n",
    "gcc -DTOKEN=1 -DTOKEN=int", "cmake -DUSE_AUTH=ON .", "use -DTOKEN=VALUE", 'x -Dtoken="$TOKEN"', "a=b.token=c1d2e3f4", "-token=next_token2\n+token=next_token2\n",
    "lambda a=1,token=None: x", "def f(self, a: int=1,token=token2, b=2)", "create_engine(a, echo=True,password=pw2pw2, b=2)", "a=1,token=None,b=2",
    "var a=1;token=getToken();b=2", "`a=1;password=${p}`", "`SharedAccessSignature=${sas}`", "f(SharedAccessSignature=sas, b)", "f(a=1,token=token2,b=2)", "f(a,token=token2,b)", "lambda x,token=token2: x", "{a:1,token=token2}", "a,token=token2,b", "x:token=next(tokens)",
    'x = "sessionid=" + sid\ny = "a"\n', "u = 'host=db password=' + pw\nv = 'x'\n", 'f("--token=" + t, "x")\n', "'token=', 'b'", 'a = ("password="\n     "x")',
    "class S(Settings):\n    API_KEY: str\n    DB_PASSWORD: SecretStr\n    A_TOKEN: Optional[str] = None\n", "API_KEY: ${API_KEY}\nDB_PASSWORD: get(x)\n",
    "\x1b[31mred\x1b[0m text", "question,kind\nI forgot my password again,login\nwhat is a token,other\n",
    "1: one\n2: two\n", "> quoted\n> more\n", "@@ -1 +1 @@\n-token = next(tokens)\n+token = next(ids)\n", '"Password:" prompt\nand "Password" echo\n',
]  # fmt: skip

ROWS = [
    "xxx password,b\n",
    "a,password\n",
    "a b,reset password\n",
    "x,token\n\n",
    "|a|password|\n",
    "password,b\n1,2,3\n",
    "(a, password) VALUES ('",
]


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_gone_through_once(row):
    """Each may be the head of a table, and to look at all that follow each would take minutes."""

    def seconds(length):
        text = row * (length // len(row))
        return min(
            timeit.repeat(lambda: scan_value(text, Rules().redact.hits), number=1, repeat=3, timer=time.thread_time)
        )

    assert seconds(32_768) < 8 * seconds(8_192) + 0.05  # it was 16 times as long, and 6 s


def test_blank_cells_are_gone_through_once():
    """Of a sheet: at each of their blanks the rest of the line was looked at, and a worker held the interpreter for seconds."""

    def seconds(text):
        return min(
            timeit.repeat(lambda: scan_value(text, Rules().redact.hits), number=1, repeat=3, timer=time.thread_time)
        )

    cell = " " * 40
    assert seconds(f"\t{cell}" * 400) < 20 * seconds(f"x{cell}" * 400) + 0.02  # it was 500 times as long


@pytest.mark.parametrize(
    "text",
    [
        "- Authorization: Role-based access control with admin, editor and viewer roles\n",
        "Prior authorization: required for MRI (CPT 70551), submit form A12\n",
        "My favourite cookie: chocolate chip, and then I went home\n",
        "Set-Cookie: HttpOnly; Secure and the rest\n",
        'headers = {"Authorization": f"Bearer {token}", "X-Api-Key": f"{settings.key}"}\n',
        '{"token": {"type": ["string", "null"], "description": "of the page"}}',
    ],
)
def test_what_stands_behind_the_name_of_a_header_in_prose_and_code_is_left(text):
    """An answer of a model speaks of authorization, code puts a header together, and a schema says what belongs there."""
    assert scan_value(text, Rules().redact.hits) == text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2\n",
        "authorization: hunter2-hunter2 and more\n",
        "Authorization: MyScheme hunter2hunter2, id=1\n",
        "Cookie: theme=dark; session=hunter2\n",
        'Authorization: Digest username="ada", realm="a b", nonce="x", response="hunter2hunter2"\n',
        'Authorization: OAuth oauth_token="ab", oauth_signature="hunter2%3D"\n',
        'Authorization: ApiKey key="hunter2hunter2"\n',
        'Authorization: Key "hunter2hunter2"\n',
        json.dumps({"log": 'Authorization: Digest username="ada", response="hunter2hunter2"', "other": "shown"}),
        'headers = {"Authorization": f"Bearer hunter2 {token}"}\n',
    ],
)
def test_the_value_of_a_header_goes(text):
    shown = scan_value(text, Rules().redact.hits)
    assert ("hunter2" not in shown, "shown" in shown) == (True, "shown" in text)
    assert "hunter2" not in redact_text(text, Rules())


def test_doubled_quotes_have_one_meaning():
    """In a row that does not end as rows do: each one doubled the time, and an article with thirty held the interpreter."""

    doubled = "''"

    def seconds(quotes):
        text = f"INSERT INTO users (name, password) VALUES ('x', '{doubled * quotes} (oops"
        return min(
            timeit.repeat(lambda: scan_value(text, Rules().redact.hits), number=1, repeat=3, timer=time.thread_time)
        )

    assert seconds(20) < 10 * seconds(10) + 0.02


def test_rows_of_an_insert_with_calls_among_their_values():
    text = "INSERT INTO users (name, password, at) VALUES ('it''s', 'hunter2', NOW()), ('bob', 'hunter3', now());"
    assert scan_value(text, Rules().redact.hits) == text.replace("'hunter2'", "[redacted]").replace(
        "'hunter3'", "[redacted]"
    )


def test_rows_of_an_insert_as_mysql_writes_them():
    """With backslashes before quotes, and as many empty texts as there are columns."""
    text = "INSERT INTO `users` (`name`,`password`,`a`,`b`) VALUES ('O\\'Brien','hunter2','',''),('it''s','hunter3','','x');"
    assert scan_value(text, Rules().redact.hits) == text.replace("'hunter2'", "[redacted]").replace(
        "'hunter3'", "[redacted]"
    )


def test_what_repr_writes_of_an_error():
    """As `exec_fallback` may return it, and whoever logs it."""
    error = RuntimeError("login of bob failed, password=hunter2x9")
    assert "RuntimeError('login of bob failed, password=[redacted]')" == scan_value(repr(error), Rules().redact.hits)


@pytest.mark.parametrize("nested", [False, True])
def test_the_input_of_a_validation_error_as_json(nested):
    """What FastAPI answers, as a text, and as a text in one; other fields are shown."""
    errors = [
        {
            "type": "too_short",
            "loc": ["body", name],
            "msg": "At least 20 characters",
            "input": f"hunter2{name}",
            "ctx": {"n": 1},
        }
        for name in ("password", "city")
    ]
    text = json.dumps(
        {"detail": errors, "other": [{"loc": ["body", "api_keys"], "msg": "x", "input": ["hunter2password"]}]}
    )
    shown = scan_value(json.dumps({"body": text}) if nested else text, Rules().redact.hits)
    assert ("hunter2password" not in shown, "hunter2city" in shown) == (True, True)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["string", "null"], "description": "of the page"},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Token", "default": None},
    ],
)
def test_a_schema_of_what_may_be_missing_is_one(schema):
    """Of a tool's parameters, as OpenAI's strict mode and pydantic write it."""
    assert {"token": schema} == render(snapshot({"token": schema}), Rules())
    assert "hunter2" not in json.dumps(render(snapshot({"token": {**schema, "default": "hunter2"}}), Rules()))


@pytest.mark.parametrize("text", LINES_OF_PROSE)
def test_lines_of_prose_and_code_are_left(text):
    """What only resembles them is shown."""
    assert scan_value(text, Rules().redact.hits) == text


@pytest.mark.parametrize("text", PROSE_AND_CODE)
def test_prose_and_code_are_left_as_they_are(text):
    """A prompt that speaks of passwords and tokens reads as it was written."""
    assert render({"text": text}, Rules()) == {"text": text}


def test_a_text_that_comes_again_is_cleaned_once(monkeypatch):
    """A conversation's history goes through every node; under other rules a text is cleaned anew, and few are remembered."""
    searched = []
    scan = render_cleaned.scan_value
    monkeypatch.setattr(render_cleaned, "scan_value", lambda text, hits: searched.append(text) or scan(text, hits))
    monkeypatch.setattr(render_cleaned, "_MOST_REMEMBERED", 20_000)
    history = [f"message {number}, password=hunter2 iban=DE12 {'word ' * 100}" for number in range(20)]
    for _ in range(3):
        shown = render(snapshot([{"content": text} for text in history]), Rules())
    assert ["hunter2" in str(shown), "DE12" in str(shown), len(searched)] == [False, True, 20]
    assert "DE12" not in str(render(snapshot(history), Rules(Redactor(("iban",)))))
    for number in range(200):
        render(f"{number} {'word ' * 100}", Rules())
        assert sum(map(len, render_cleaned._known)) < 21_000


def test_names_of_a_users_own_are_found_in_texts_too():
    """`redact` counts wherever the built-in names do."""
    assert render('{"iban": "DE12"}', Rules(Redactor(("iban",)))) == '{"iban": "[redacted]"}'


def test_texts_as_keys_are_redacted_by_names_too():
    """A cache by address or by request."""
    cache = {"https://x/?api_key=hunter2": 1, '{"password": "hunter2"}': 2, "Bearer hunter2hunter2": 3, "a=b": 4}
    assert ["https://x/?api_key=[redacted]", '{"password": "[redacted]"}', "Bearer [redacted]", "a=b"] == list(
        render(snapshot(cache), Rules())
    )


@pytest.mark.parametrize("text", PLAIN_TEXTS)
def test_plain_text_is_left(text):
    assert redact_text(text, Rules()) == text


def test_provider_keys_inside_of_values_are_replaced():
    value = {"prompt": "use sk-ant-api03-abcdefghijklmnop please"}
    assert render(value, Rules()) == {"prompt": "use [redacted] please"}


def test_a_key_on_the_edge_of_a_cut_is_not_shown_in_half():
    key = "sk-ant-" + "a" * 60
    for place in range(32_700, 32_770, 5):
        text = "x" * (place - 1) + " " + key + "y " * 60_000
        assert "sk-ant" not in render(text, Rules())


@pytest.mark.parametrize(
    "put", [bytes, bytearray, memoryview, type("Bytes", (bytes,), {}), lambda value: value + bytes(400_000)]
)
@pytest.mark.parametrize(
    "text", ["A=1\nAPI_KEY={}\n", "Host: x\r\nAuthorization: {}\r\n", 'a: {{"password": "{}"}}', "plain {}"]
)
def test_the_secrets_of_bytes(put, text):
    """Of whatever kind they are: each line is read as one, and what is behind the part that is shown is known."""
    shown = render(snapshot(put(text.format("hunter2" * 30).encode())), Rules())
    assert ("plain" in text) == ("hunter2" in json.dumps(shown))


REPEATED = [
    r":\/\/a:b@ ",
    "://a:b@ ",
    r":\/\/a:",
    "eyJa",
    "hf_",
    "ghp_",
    "sk-",
    "xoxb-",
    "AIza",
    "://a:b",
    "eyJabcdefgh.",
    "npm_",
    "_npm_",
    "tvly-",
    "SG.",
    "SG.abcdefghijklmnop.",
    "whsec_",
    "12345678:AA",
    "dapi",
    "-----BEGIN PRIVATE KEY-----",
    "'--a', '",
    "('a','",
    "[['a', ",
    "{a = ",
    "\na\n  input_value=",
    "[SQL: ",
    "[parameters: ",
    "&Signature=",
    "Key (",
    "Key (token)=(",
    "Key (a)=(b) ",
    "Duplicate entry '",
    "Duplicate entry 'a' for key '",
]


@pytest.mark.parametrize("piece", REPEATED)
def test_no_text_is_tried_over_and_over(piece):
    """The beginning of a secret, repeated, takes about as long as prose of the same length: each word is tried once."""
    text = (piece * 65_536)[:65_536]
    prose = ("a line of prose with nothing in it, and sk- eyJ hf_ as words " * 1100)[:65_536]

    def seconds(value):
        return min(timeit.repeat(lambda: scan(value), number=1, repeat=5, timer=time.thread_time))

    assert seconds(text) < 100 * seconds(prose) + 0.005  # it was 1,000 times as long


LONG = {
    "CSV": ("id,name,password\n", "{0},Ada Lovelace,hunter{0:05}\n", ""),
    "of pandas": (",name,password\n", "{0},Ada Lovelace,hunter{0:05}\n", ""),
    "Markdown": ("| id | token |\n|---|---|\n", "| {0} | hunter{0:05} |\n", ""),
    "SQL": ("INSERT INTO users (name, password) VALUES\n", "('Ada, (1815)', 'hunter{0:05}'),\n", "('x', 'y');"),
    "JSON": ('{"api_keys": [', '"hunter{0:05}", ', '"x"]}'),
    "YAML": ("a: 1\napi_keys:\n", "  - hunter{0:05}\n", "b: 1\n"),
    "TOML": ("[secrets]\n", 'service_{0} = "hunter{0:05}"\n', ""),
    "XML": ("<secrets>\n", "<service>hunter{0:05}</service>\n", "</secrets>"),
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("limit", [2_000, 65_536])
def test_what_stands_behind_a_cut_is_known_by_what_stands_before_it(kind, limit):
    """Names that stand once for many: of columns, of lists, of blocks and tables."""
    begin, row, end = LONG[kind]
    text = begin + "".join(map(row.format, range(3 * limit // len(row)))) + end
    limits = Limits(max_text=limit)
    rules = Rules(limits=limits)
    for value in (text, RuntimeError(text)):
        shown = json.dumps(render(snapshot(value, limits), rules), ensure_ascii=False)
        assert ("hunter" not in shown, " … " in shown) == (True, True)
    plain = "a line of prose, with nothing in it\n" * (3 * limit // 30)
    assert plain[-limit // 3 :] in render(snapshot(plain, limits), rules)


@pytest.mark.parametrize("length", [40, 900, 5000])
@pytest.mark.parametrize(
    "form", ['{{"status": 200, "session_token": "{}"}}\n', "\nAPI_KEY={}\n", "GET /?a=1&token={} \n", " sk-{:.250} ", " eyJ{0}.{0}.{0} "]
)  # fmt: skip
def test_a_secret_on_the_edge_of_a_cut_is_not_shown(form, length):
    """Wherever the cut of a long text falls, also where redaction makes what is before it shorter."""
    chance = random.Random(length)
    limits = Limits(max_text=20_000)
    for shift in range(12):
        secrets, parts = [], ["a line of prose, some words of it\n" * shift]
        while sum(map(len, parts)) < 90_000:
            secrets.append("".join(chance.choices("abcdefghijkmnpqrstuvwxyz0123456789", k=length)))
            parts += [form.format(secrets[-1]), "words " * (shift * 7)]
        text = "".join(parts)
        for value in (text, snapshot(text, limits)):
            shown = render(value, Rules(limits=limits))
            for secret in secrets:
                for at in range(0, min(length, 250) - 10, 6):
                    assert secret[at : at + 10] not in shown


@pytest.mark.parametrize(
    "form", ["API_KEY={}", "GET /?token={}", '"password": "{}"', "Cookie: sid={}", "eyJ{0}.{0}.{0}"]
)
def test_a_secret_of_any_length_is_replaced_whole(form):
    secret = "".join(random.Random(1).choices("abcdefghijkmnpqrstuvwxyz0123456789", k=12_000))
    shown = render(form.format(secret), Rules())
    assert not any(secret[at : at + 10] in shown for at in range(0, 12_000, 100))


@pytest.mark.parametrize("others", [bytes(300_000), b"\x89PNG\r\n\x1a\n" + bytes(300_000), "prose " * 60_000])
def test_the_edge_of_a_text_that_others_left_little_of(others):
    """Where more may be shown by its place than was kept of it, what is shown ends before the margin."""
    chance = random.Random(7)
    secrets = ["".join(chance.choices("abcdefghijkmnpqrstuvwxyz0123456789", k=900)) for _ in range(330)]
    log = "".join(f'{{"status": 200, "session_token": "{secret}"}}\n' for secret in secrets)
    for rules in (Rules(), Rules(policy={"others": "hide"})):
        shown = json.dumps(render(snapshot({"others": [others] * 18, "log": log}), rules))
        assert not any(secret[at : at + 40] in shown for secret in secrets for at in range(0, 860, 20))
