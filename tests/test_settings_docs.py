"""The documentation of the settings is what their declarations say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketflow_tracing import _settings_docs
from pocketflow_tracing._settings_env import read_env_file
from pocketflow_tracing.config import SETTINGS, TracingConfig

ROOT = Path(__file__).parent.parent


def test_env_example_is_current():
    """`.env.example` is what `python -m pocketflow_tracing._settings_docs env` prints."""
    assert _settings_docs.env_example() == (ROOT / ".env.example").read_text(encoding="utf-8")


def test_readme_table_is_current():
    """The table of the README is what `python -m pocketflow_tracing._settings_docs table` prints."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    start, end = text.index(_settings_docs.START), text.index(_settings_docs.END) + len(_settings_docs.END)
    assert _settings_docs.table() == text[start:end] + "\n"


def test_every_setting_is_documented():
    """Every variable stands in the example and every field in the table."""
    for name, setting in SETTINGS.items():
        assert f"| `{name}` |" in _settings_docs.table()
        assert all(variable in _settings_docs.env_example() for variable in setting.env)
        assert all(f"`{variable}`" in _settings_docs.table() for variable in setting.env)


def test_env_example_holds_the_defaults(tmp_path, monkeypatch):
    """Used with every line uncommented, the example gives the defaults and no problem."""
    for setting in SETTINGS.values():
        for variable in setting.env:
            monkeypatch.delenv(variable, raising=False)
    lines = [line.removeprefix("# ") if "=" in line else line for line in _settings_docs.env_example().splitlines()]
    path = tmp_path / "all.env"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert {setting.env[0] for setting in SETTINGS.values() if setting.env} == set(read_env_file(str(path))[0])
    config = TracingConfig.from_env(path)
    assert [] == config.problems()
    assert TracingConfig() == config


@pytest.mark.parametrize(("argument", "text"), [("env", _settings_docs.env_example), ("table", _settings_docs.table)])
def test_command_prints(capsys, argument, text):
    """The command prints the text that is asked for."""
    assert 0 == _settings_docs.main([argument])
    assert text() == capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["other"]])
def test_command_explains_itself(capsys, arguments):
    """Anything else is a usage line and exit code 2."""
    assert 2 == _settings_docs.main(arguments)
    assert capsys.readouterr().err.startswith("usage: ")
