"""The signs and colours of the terminal pictures; every status has a sign of its own, for readers without colour."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

__all__ = ["ASCII", "UNICODE", "Symbols", "style_of", "symbols_for"]

_STYLES = {
    "success": "green",
    "recovered": "yellow",
    "error": "red",
    "cancelled": "magenta",
    "running": "blue",
    "interrupted": "magenta",
}


@dataclass(frozen=True)
class Symbols:
    """One set of signs."""

    status: dict[str, str] = field(
        default_factory=lambda: {
            "success": "✓",
            "recovered": "↻",
            "error": "✗",
            "cancelled": "⊘",
            "running": "▶",
            "interrupted": "‖",
        }
    )
    generation: str = "◆"
    score: str = "★"
    arrow: str = "→"
    dot: str = " · "
    more: str = "…"
    branch: str = "├─ "
    last: str = "└─ "
    through: str = "│  "
    blank: str = "   "
    bar: str = "━"
    tick: str = "╸"

    def of(self, status: str) -> Text:
        """Return the sign of a status in its colour."""
        return Text(self.status.get(status, "?"), style_of(status))


UNICODE = Symbols()
ASCII = Symbols(
    status={"success": "+", "recovered": "~", "error": "x", "cancelled": "/", "running": ">", "interrupted": "!"},
    generation="*",
    score="*",
    arrow="->",
    dot=" - ",
    more="...",
    branch="|- ",
    last="`- ",
    through="|  ",
    bar="=",
    tick="-",
)


def symbols_for(console: Console) -> Symbols:
    """Return the signs that the console can show."""
    return UNICODE if (console.encoding or "").lower().startswith("utf") else ASCII


def style_of(status: str) -> str:
    """Return the colour of a status."""
    return _STYLES.get(status, "")
