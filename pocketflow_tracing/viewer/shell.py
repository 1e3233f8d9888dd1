"""The one HTML document of the view: served pages and the exported file are this shell with other contents."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pocketflow_tracing._version import __version__

__all__ = ["STATIC", "page", "self_contained"]

STATIC = Path(__file__).parent / "static"

_STYLES = ("base.css", "parts.css", "pages.css", "run.css")
_EXPORTED = "offline.js"

_SHELL = """<!DOCTYPE html>
<html lang="en" data-page="{page}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
{head}
</head>
<body>
<noscript>This view draws runs with JavaScript, all of it from this {origin}: please allow it.</noscript>
<div id="app"></div>
{data}
</body>
</html>
"""

_IMPORT = re.compile(r"^import\s[^;]*?\sfrom \"\./(?P<file>[\w.]+)\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function|class) )", re.MULTILINE)


def page(name: str, title: str, data: dict[str, Any]) -> str:
    """Return a served page.

    Args:
        name: of the page, and of the script that draws it.
        title: of the window.
        data: small facts for the script.
    """
    head = [f'<link rel="stylesheet" href="/static/{file}?{__version__}">' for file in _STYLES]
    head += [
        '<link rel="icon" href="/static/icon.svg" type="image/svg+xml">',
        '<script src="/static/theme.js"></script>',
    ]
    head.append(f'<script type="module" src="/static/{name}.js"></script>')
    return _filled(name, title, head, data, "server")


def self_contained(title: str, data: dict[str, Any]) -> str:
    """Return a page that needs nothing but itself: every style, script and value stands in it.

    Args:
        title: of the window.
        data: all that the page shows.
    """
    style = "\n".join(_text(file) for file in _STYLES)
    theme, script = _text("theme.js"), bundle(_EXPORTED)
    sources = " ".join(f"'sha256-{_digest(text)}'" for text in (theme, script))
    policy = (
        f"default-src 'none'; script-src {sources}; style-src 'sha256-{_digest(style)}'; base-uri 'none';"
        " form-action 'none'"
    )
    head = [f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">']
    head += [f"<style>{style}</style>", f"<script>{theme}</script>", f'<script type="module">{script}</script>']
    return _filled("run", title, head, data, "file")


@cache
def bundle(file: str) -> str:
    """Return a script and all that it imports as one: modules in order of need, in one scope.

    The scripts keep to what this takes: imports at the top, by name, of files beside them; no two modules give one name to
    different things.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for found in _IMPORT.finditer(_text(name)):
                visit(found["file"])
            order.append(name)

    visit(file)
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", _text(name))) for name in order)
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError(f"{file} cannot stand in a page: it holds what ends a script.")
    return script


def _filled(name: str, title: str, head: list[str], data: dict[str, Any], origin: str) -> str:
    # "<" as an escape: no text of a run can end the element that holds it.
    encoded = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return _SHELL.format(
        page=html.escape(name),
        title=html.escape("".join(sign if sign.isprintable() else "\ufffd" for sign in title)),  # some print the page
        head="\n".join(head),
        data=f'<script type="application/json" id="data">{encoded}</script>',
        origin=origin,
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _text(file: str) -> str:
    return (STATIC / file).read_text(encoding="utf-8")
