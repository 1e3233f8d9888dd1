"""Forms of texts in which a name stands before a value, one behind another: none takes the next one along unread."""

from __future__ import annotations

import itertools

import pytest

from pocketflow_tracing.redaction import Rules, redact_text
from pocketflow_tracing.redaction_data import scan_value

FORMS = {
    "a variable": "DB_PASSWORD=hunter2",
    "an exported variable": "export API_KEY='hunter2'",
    "a word of YAML": "api_key: hunter2",
    "a text of YAML": 'password: "hunter2"',
    "a block of YAML": "credentials:\n  admin: hunter2\n  root: hunter3",
    "a list of YAML": "secrets:\n- hunter2\n- hunter3",
    "a list of YAML that is indented": "secrets:\n  - hunter2\n  - hunter3",
    "a list of YAML in brackets": "passwords: [hunter2, hunter3]",
    "lines of YAML": "private_key: |\n  hunter2\n  hunter3",
    "a section of INI": "[secrets]\na=hunter2\nb = hunter3",
    "a list of TOML": 'api_keys = [\n  "hunter2",\n]',
    "JSON": '{"password": "hunter2", "n": 1}',
    "JSON with a list": '{"api_keys": ["hunter2", "hunter3"]}',
    "JSON of several lines": '{\n  "token": "hunter2"\n}',
    "JSON in JSON": '"{\\"token\\": \\"hunter2\\"}"',
    "a dict of Python": "{'password': 'hunter2'}",
    "a dict of Python in code": "SECRETS = {\n    'a': 'hunter2',\n}",
    "an element": "<password>hunter2</password>",
    "nested elements": "<credentials><a>hunter2</a><b>hunter3</b></credentials>",
    "an attribute": '<user password="hunter2"/>',
    "a name and a value": '{"name": "DB_PASSWORD", "value": "hunter2"}',
    "a name and a value of YAML": "- name: API_KEY\n  value: hunter2",
    "a parameter": "https://h/x?api_key=hunter2&z=1",
    "a URL with a password": "postgres://u:hunter2@h/db",
    "a header": "X-Api-Key: hunter2hunter2",
    "a command": "tool --password hunter2 --verbose",
    "an option": "tool --token=hunter2",
    "a definition": "java -Ddb.password=hunter2 x",
    "a connection": "Server=h;User ID=u;Password=hunter2;",
    "an INSERT": "INSERT INTO users (id, password) VALUES (1, 'hunter2');",
    "a call": 'client = C(api_key="hunter2")',
    "a log": "login user=u password=hunter2 ip=1",
}
BETWEEN = ("\n", "\n\n", "\n# and\n", "\nother: 1\n", "\r\n")


@pytest.mark.parametrize("first", FORMS)
def test_what_is_hidden_alone_is_hidden_behind_any_other_form(first):
    """Whatever stands between the two, as a value and in an error."""
    rules = Rules()
    for second, between in itertools.product(FORMS, BETWEEN):
        text = f"{FORMS[first]}{between}{FORMS[second]}\n"
        assert "hunter" not in scan_value(text, rules.redact.hits), text
        assert "hunter" not in redact_text(text, rules), text
