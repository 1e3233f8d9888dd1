"""The fields of dicts and objects that say what others beside them hold, for that may be a secret."""

from __future__ import annotations

__all__ = ["COLUMNS", "NAMES", "TABLES", "TELLING", "TOLD", "USERS", "VALUES"]

COLUMNS = ("columns", "headers", "header", "fields", "column_names")
"""Fields that say what the columns of a table are called …"""
TABLES = ("data", "rows", "values", "records")
"""… and those that hold tables."""
NAMES = ("name", "key", "field", "header", "variable", "param", "parameter", "Name", "Key", "ParameterKey")
"""Fields that say what something is called …"""
VALUES = frozenset({"value", "Value", "ParameterValue", "head"})
"""… and those that hold it."""
USERS = frozenset({"user", "username", "login", "email", "User", "Username"})
"""Beside which "pass" is a password."""

TELLING = frozenset({*COLUMNS, *NAMES, *USERS, "domain", "path", "httpOnly", "loc", "statement"})
"""All that say something of others."""
TOLD = frozenset({*TABLES, *VALUES, "pass", "input", "params"})
"""All of which something is said by others."""
