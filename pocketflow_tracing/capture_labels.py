"""The fields of dicts and objects that say what others beside them hold, for that may be a secret."""

from __future__ import annotations

__all__ = ["COLUMNS", "NAMES", "PASSES", "TABLES", "TELLING", "TEXTS", "TOLD", "USERS", "VALUES"]

COLUMNS = ("columns", "headers", "header", "fields", "column_names")
"""Fields that say what the columns of a table are called …"""
TABLES = ("data", "rows", "values", "records")
"""… and those that hold tables."""
NAMES = (
    "name", "key", "field", "header", "variable", "param", "parameter", "_name", "_key", "Name", "Key", "ParameterKey",
)  # fmt: skip
"""Fields that say what something is called …"""
VALUES = frozenset({"value", "val", "_value", "Value", "ParameterValue", "head"})
"""… those that hold it …"""
TEXTS = frozenset({"data", "default"})
"""… and those that do where they are texts: of a form's field, or an option's."""
USERS = frozenset({"user", "username", "login", "email", "User", "Username"})
"""Fields beside which …"""
PASSES = frozenset({"pass", "pass_", "_pass"})
"""… these are passwords; by themselves they may count tests."""

TELLING = frozenset({*COLUMNS, *NAMES, *USERS, "keyword", "domain", "path", "httpOnly", "loc", "statement"})
"""All that say something of others."""
TOLD = frozenset({*TABLES, *VALUES, *TEXTS, *PASSES, "input", "params"})
"""All of which something is said by others."""
