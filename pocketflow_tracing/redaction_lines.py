"""Secrets by name in lines of texts: settings of YAML, TOML and INI files, assignments of code, lists of Markdown, sentences."""

from __future__ import annotations

import re

from .redaction_shapes import REPLACEMENT, compiled
from .redaction_splice import Splice
from .redaction_values import QUOTE, Hits, is_credential, value_end

__all__ = ["without_assigned", "without_lines", "without_told"]

_LINE = (
    r"(\n[ \t+>*-]{0,80}(?:(?:export|set|ENV|const|let|var) |\$env:)?([\w.-]{1,80})(?:[ \t]{1,40}= |[ \t]{0,4}:[ \t]{1,40}))"
    r"((?:[&!][\w!./-]{1,40}[ \t]{1,4}){0,2})"
    r"(\\{0,3}\"[^\"\n]+\"|\\{0,3}'[^'\n]+'|`[^`\n]+`"
    r"|[^\s\"'`,;(){}\[\]<>](?:[^\s\"'`,;(){}\[\]<>]|[\"',;](?=\w)){5,})"
    r"(?=[ \t]*(?:[,;#]|\r?\n|\Z))"
)
_VARIABLE = (
    r"(\n[ \t]{0,80}([A-Z][A-Z0-9]{0,40}_[A-Z0-9_]{1,40}):[ \t]{1,4})"
    r"(?!(?:str|int|bytes|string|String|SecretStr|Secret|Optional|Final|None|null|true|false)\b)([^\s\"'`$<{\[(][^\s\"'`<>{}\[\]()]{0,200})"
    r"(?=[ \t]*(?:#|\r?\n|\Z))"
)
"""Of an environment, in YAML: other than a type, which stands there in code."""
_BLOCK = r"(\n([ \t]{0,80})(?:- )?([\w.-]{1,80}):[ \t]{1,4}[|>][+-]?[ \t]{0,4})(?:\r?\n\2[ \t]{1,80}[^\n]+)+"
"""Lines that are one value of YAML."""
_LITERAL = r"=(?<=[ \t:\]\"']=)>?[ \t]{0,4}N?(?=[bBuU]?\\{0,3}[\"'][^\s\"'])"
"""What stands before a literal that is assigned; names are looked up backwards from there, as to try each word takes long."""
_EXPRESSION = r"\\{0,3}[\"']{1,3}[ \t]{0,4}(?:\.\w|[+%])"
"""The literal is a part of one, and not yet the value."""
_NAME_BACKWARDS = r":?[ \t]{0,4}\\{0,3}[\"'\]]{0,2}([\w.-]{1,80})"
_TYPED_BACKWARDS = r"[ \t]{0,4}[\w.\[\], |?]{1,80}?[ \t]?:[ \t]{0,4}([\w.-]{1,80})"
_LONGEST_NAME = 180
"""With the type of a variable between its name and its value."""
_LABEL = r":(?:\*\*)?[ \t]{1,4}(`?)([^\s`*\"',;(){}\[\]<>]{6,})(?<!:)\1(?=[\s,;.\"']|\Z)"
_SPOKEN = r"[ ](?:is|was|provided|supplied|given):?[ ]([\"'`]?)([^\s\"'`,;(){}\[\]<>]{6,})\1(?=[\s,;\"'\\]|\Z)"
_SPOKEN_WORDS = (" is", " was", " provided", " supplied", " given")
_WORDS_BACKWARDS = r"[ *`_\"']{0,4}([\w.-]{1,40}(?: [\w-]{1,20}){0,1})"


def without_lines(text: str, hits: Hits) -> str:
    """Replace the one value of a line that has a name and one value: of YAML, TOML, an INI file.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.
    """

    def shown(line: re.Match[str]) -> str:
        before, name, says, word = line.groups()
        opening = compiled(QUOTE).match(word)
        quote = opening[0] if opening is not None else ""
        if not hits(name) or not (quote or is_credential(word)):
            return line[0]
        return f"{before}{says}{quote}{REPLACEMENT}{quote}"

    text = compiled(_LINE).sub(shown, f"\n{text}")
    text = compiled(_VARIABLE).sub(lambda line: f"{line[1]}{REPLACEMENT}" if hits(line[2]) else line[0], text)
    if ": |" in text or ": >" in text:
        text = compiled(_BLOCK).sub(lambda block: f"{block[1]} {REPLACEMENT}" if hits(block[3]) else block[0], text)
    return text[1:]


def without_assigned(text: str, hits: Hits) -> str:
    """Replace a literal in quotes that is assigned to a name: `String token = "…"`, `token: str = "…"`, `'token' => '…'`.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.
    """
    shown = Splice(text)
    for sign in compiled(_LITERAL).finditer(text):
        if sign.start() < shown.at:
            continue
        before = text[max(sign.start() - _LONGEST_NAME, 0) : sign.start()].rpartition("\n")[2][::-1]
        names = (compiled(pattern).match(before) for pattern in (_NAME_BACKWARDS, _TYPED_BACKWARDS))
        if not any(name is not None and hits(name[1][::-1]) for name in names):
            continue
        start = sign.end()
        quote = compiled(QUOTE).match(text, start)
        end, _ = value_end(text, start, "")
        if compiled(_EXPRESSION).match(text, end):
            continue
        shown.replace(start, end, quote[0] if quote is not None else "", REPLACEMENT)
    return shown.whole()


def without_told(text: str, hits: Hits) -> str:
    """Replace what looks like a credential where Markdown or a sentence names it: `**Password:** …`, "the token is …".

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.
    """

    def shown(found: re.Match[str]) -> str:
        quote, word = found.groups()
        before = text[max(found.start() - 80, 0) : found.start()].rpartition("\n")[2][::-1]
        name = compiled(_WORDS_BACKWARDS).match(before)
        if name is None or not is_credential(word):
            return found[0]
        words = name[1][::-1]
        if not hits(words) and not hits(words.rpartition(" ")[2]):
            return found[0]
        kept = word[len(word.rstrip(".!?:")) :]
        return f"{found[0].removesuffix(f'{quote}{word}{quote}')}{quote}{REPLACEMENT}{quote}{kept}"

    if ": " in text or ":*" in text:
        text = compiled(_LABEL).sub(shown, text)
    return compiled(_SPOKEN).sub(shown, text) if any(words in text for words in _SPOKEN_WORDS) else text
