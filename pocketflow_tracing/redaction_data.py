"""Secrets that are known by their name in texts that are data: JSON, URLs, settings, commands, connection strings.

Prose and code stay as they are ("password: at least 8 characters", `token = next(tokens)`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from ._time import breathe
from .redaction_blocks import without_blocks
from .redaction_elements import without_elements
from .redaction_lines import without_assigned, without_lines, without_told
from .redaction_margins import without_margins
from .redaction_pairs import without_paired
from .redaction_reports import without_reported
from .redaction_rows import without_rows
from .redaction_shapes import REPLACEMENT, compiled, scan
from .redaction_splice import Splice
from .redaction_values import CUT_LINE, HEADER_VALUE, LINE_NAMES, QUOTE, Hits, end_of, is_credential, value_end
from .render_text import agreeing

__all__ = ["scan_rest", "scan_value", "without_options"]

# Names of data end where a literal stands, for the same reason; where they begin is looked up from there.
_BYTE_ORDER_MARK = "\ufeff"
_COLOURS = r"\x1b\[[\d;]{0,20}m"
_PARAMETER = r"=(?<=[\w\]]=)(?=[^\s=])"
_QUOTED_NAME = r":(?<=[\"'\s]:)"  # some write spaces before the colon
_MEMBER_NAMES = (r'"([^"\\]{1,80})\\{0,3}"\s{0,4}:', r"'([^'\\]{1,80})\\{0,3}'\s{0,4}:")
_MEMBER = rf"{_QUOTED_NAME}\s{{0,4}}(?=\S)"
_HEADER = r":(?<=[yYnNeEtThHdD]:)(?<=(?i:-key|oken|tion|okie|cret|auth|word):)\s{0,4}(?=\S)"
_HEADER_NAME = r"(?i)(?<![\w-])(?:x-[\w-]{1,80}|api-key|(?:proxy-)?authori[sz]ation|(?:set-)?cookie)\Z"
_HEADER_START = r"(?:[A-Za-z]{2,20} [^\s\"']{6}|[^\s\"'\\]{8}|[^\s=;\"']{1,80}=)"
"""How the value of a header begins: with a scheme and a credential, a long word, or a cookie."""
_LINE_START = (
    r"(?:(?i:bearer|basic|digest|token|api-?key|key|negotiate|ntlm|oauth|hawk|hmac|jwt|dpop|bot) [^\s\"',;]{6}"
    r"|(?:[A-Za-z][\w-]{1,30} )?(?=[^\s\"']{0,200}\d)(?=[^\s\"']{0,200}[A-Za-z])[^\s\"'\\]{8}|[^\s\"'\\]{20}|[^\s=;,\"']{1,80}="
    r"|[A-Za-z][\w-]{1,30} (?:[\w-]{1,40}=\\{0,3}\"|\\{0,3}\"(?=[^\s\"\\]{0,200}\d)[^\s\"\\]{6}))"
)
"""… of one whose value takes the rest of the line, and whose name stands in prose as well ("Authorization: required for all")."""
_QUERY_VALUE = r"[^&\s\"'#<>()\[\]{}\\]+"
_LINE_VALUE = r"[^\s\"'\0]+"
_NEAR = 200
_END_OF_LITERAL = r"\\{0,3}([\"'])[ \t]{0,4}(?:[+%,)\]};]|\.\w|\r?\n[ \t]{1,80}[+\"'%])"
_NO_NAME = "\n()[]{}=,;"
_NUMBER = r"[-+]?\d[\w.+-]*"
_PLACEHOLDER = r"[fF]\\{0,3}([\"'])(?:[A-Za-z]{2,20} )?\{[^{}\"'\\\n]{1,80}\}\\{0,3}\1"
"""A value that code puts together: f"Bearer {token}"."""
_SCHEMA = (
    r"\{\s{0,20}\\{0,3}\"type\\{0,3}\"\s{0,4}:\s{0,4}(?:\[\s{0,20})?"
    r"(?:\\{0,3}\"(?:string|integer|number|boolean|object|array|null)\\{0,3}\",?\s{0,20}){1,3}\]?\s{0,20}"
    r"(?:,\s{0,20}\\{0,3}\"(?:title|description|format|minLength|maxLength)\\{0,3}\"\s{0,4}:\s{0,4}"
    r"(?:\d{1,9}|\\{0,3}\"[^\"\\]{0,500}\\{0,3}\")\s{0,20}){0,5}\}"
)
"""What kind of value belongs under a name, in a schema of JSON."""
_PLAIN_WORD = r"[^\s\"'`,;(){}\[\]<>]{6,}"
_CREDENTIAL = r"Bearer [\w.~+/=-]{0,4}(?=[\w.~+/=-]{0,80}\d|[\w.~+/=-]{20})[\w.~+/=-]{6,}"
_LONGEST_NAME = 80
_LONGEST_WORD = 1000
"""Characters of a word in which it shows what it is."""
_SETTING = r"(?:[^\s;&\"'`,(){}\[\]<>|]|&(?!\w+=))+"
_WHOLE_SETTING = r"[^\s;\"'`,(){}\[\]<>|]+"
_END_OF_A_WORD = r"[\s\"'`]"
_BRACKETS = frozenset("()[]{}<>")
_SETTING_STARTS = ("export ", "ENV ", "ARG ", " -e ", " -F ", "--env ", "--env=", "--from-literal=", "config:set ")
"""What stands before a setting of a shell, a Dockerfile or a command."""
_SETTERS = ("ENV ", "setx ", "set -x ", "set -gx ")
_COMMAND = r"(\n[ \t]{0,80}(?:ENV|setx|set -g?x) ([A-Za-z_]\w{0,80}) )(\"[^\"\n]+\"|[^\s\"'=]+)"
_OPTION = (
    r"(--([A-Za-z][\w-]{0,80})[ \t]{1,4}(?:\\\r?\n[ \t]{0,40})?)(\"[^\"\n]+\"|'[^'\n]+'|[^\s\"'\\\[<${%-][^\s\"'\\]*)"
)


def scan_value(text: str, hits: Hits) -> str:
    """Replace secrets in a text that is a value or a part of one.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    bare = text.lstrip(_BYTE_ORDER_MARK)
    marks = text[: len(text) - len(bare)]
    if "\x1b[" in bare:  # colours stand between names and values; where something is replaced they go
        uncoloured = compiled(_COLOURS).sub("", bare)
        shown = _with_its_lines(uncoloured, hits)
        return marks + (shown if shown != uncoloured else bare)
    return marks + _with_its_lines(bare, hits)


def scan_rest(before: str, rests: tuple[str, ...], hits: Hits) -> tuple[str, ...]:
    """Replace secrets in the ends of a text whose names stand at its beginning: of columns, of lists, of a table or block.

    Args:
        before: how the text begins.
        rests: how it ends, behind something that was cut out.
        hits: tells whether a name is one of a secret.

    Returns:
        The ends, in time linear to the length of all.
    """
    return tuple(_scanned_below(before, rest, hits) for rest in rests)


def _scanned_below(before: str, rest: str, hits: Hits) -> str:
    shown = scan_value(f"{before}\n{CUT_LINE}\n{rest}", hits)
    _, cut, below = shown.rpartition(f"{CUT_LINE}\n")
    if cut:
        return below
    alone = scan_value(rest, hits)  # what goes on over the cut has taken it along
    same = agreeing(min(len(alone), len(shown)), lambda count: not count or alone[-count:] == shown[-count:])
    return f"{REPLACEMENT}{alone[len(alone) - same :]}"


def _with_its_lines(text: str, hits: Hits) -> str:
    text = scan(text)
    look = partial(_scanned, hits=hits)
    if (
        "\\n" in text and "\r\n" not in text
    ):  # the text of a file in one of JSON: rules about lines have to see its lines
        shown = without_margins(text.replace("\\n", "\r\n"), look).replace("\r\n", "\\n")
        return shown if "\n" in text else shown.replace("\n", "\\n")  # of a line whose end went along
    return without_margins(text, look)


def _scanned(text: str, hits: Hits) -> str:
    breathe()  # each rule goes through all of the text
    if "Bearer " in text:
        text = compiled(_CREDENTIAL).sub(f"Bearer {REPLACEMENT}", text)
    if "=" in text:
        text = _without_named(text, _PARAMETER, _Parameters().end_of, hits)
        text = without_assigned(text, hits)
    if "--" in text:
        text = without_options(text, hits)
    breathe()
    text = without_reported(text, hits)
    if "<" in text:
        text = without_elements(text, hits)
    if ":" in text:
        # a regex looks for two characters in a third of the time that `in` takes
        if compiled(_QUOTED_NAME).search(text) and any(
            any(map(hits, set(compiled(names).findall(text)))) for names in _MEMBER_NAMES
        ):
            text = _without_named(text, _MEMBER, _end_of_member, hits)
        text = _without_named(text, _HEADER, _end_of_header, hits)
        breathe()
        text = without_paired(text, hits)
        breathe()
    if any(setter in text for setter in _SETTERS):
        text = compiled(_COMMAND).sub(
            lambda found: f"{found[1]}{REPLACEMENT}" if hits(found[2]) else found[0], f"\n{text}"
        )[1:]
    if ": " in text or " = " in text or ":\t" in text:
        text = without_lines(text, hits)
    text = without_told(text, hits)
    breathe()
    text = without_rows(text, hits)
    return without_blocks(text, hits) if "\n" in text or "[" in text or "{" in text else text


def without_options(text: str, hits: Hits, *, in_prose: bool = True) -> str:
    """Replace the values of a command's secret options that stand behind a space, `--password hunter2`.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.
        in_prose: whether the text may speak about options ("use --token to log in") and is to stay readable.
    """

    def shown(option: re.Match[str]) -> str:
        before, name, word = option.groups()
        if not hits(name) or (word.isupper() and word.isidentifier() and not is_credential(word)):  # its help says so
            return option[0]
        quote = word[0] if word[0] in "\"'" else ""
        if in_prose and not quote and not is_credential(word):
            after = text[option.end() : option.end() + 8].lstrip(" ")[:1]
            if after not in {"", "-", "|", "&", ";", ">", '"', "'"}:
                return option[0]
        return f"{before}{quote}{REPLACEMENT}{quote}"

    return compiled(_OPTION).sub(shown, text)


def _without_named(text: str, separator: str, end_of: Callable[[str, int, int, Hits], int], hits: Hits) -> str:
    """Replace what follows a separator, up to where `end_of` says that a secret ends; -1 says that there is none."""
    shown = Splice(text)
    for match in compiled(separator).finditer(text):
        start = match.end()
        if start < shown.at:
            continue
        end = end_of(text, match.start(), start, hits)
        if end > start:
            quote = compiled(QUOTE).match(text, start)
            opening = quote[0] if quote is not None and quote.end() < end else ""
            shown.replace(start, end, opening, REPLACEMENT)
    return shown.whole()


class _Run:
    """Where a run of characters of a pattern ends, in one text: it may hold thousands of names, and is passed over once."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._start = self._end = 0

    def end(self, text: str, start: int) -> int:
        """Where the run around a place ends; -1 where there is none."""
        if not self._start <= start < self._end:
            self._start, self._end = start, end_of(text, start, self._pattern)
        return self._end


class _Parameters:
    """Where the values end of a URL's parameters, a command's options and settings, in one text."""

    def __init__(self) -> None:
        self._parts = _Run(_SETTING)
        self._whole = _Run(_WHOLE_SETTING)  # of Azure's storage signatures, which have parameters of their own

    def end_of(self, text: str, name_end: int, start: int, hits: Hits) -> int:
        """Where the value ends; -1 where it is no secret."""
        least = max(name_end - _LONGEST_NAME, 0)
        mark = max(text.rfind("?", least, name_end), text.rfind("&", least, name_end))
        name = text[mark + 1 : name_end] if mark >= 0 else ""
        if (not name or "#" in name) and (mark := text.rfind("#", least, name_end)) >= 0:
            name = text[mark + 1 : name_end]
        if name.isascii() and name.replace("_", "").replace("-", "").replace(".", "").isalnum():
            return end_of(text, start, _QUERY_VALUE) if hits(name) else -1
        dashes = text.rfind("--", least, name_end)
        option = text[dashes + 2 : name_end] if dashes >= 0 else ""
        if option.replace("-", "").isidentifier() and hits(option) and not _ends_a_literal(text, start):
            return value_end(text, start, _LINE_VALUE)[0]
        return self._end_of_setting(text, name_end, start, hits)

    def _end_of_setting(self, text: str, name_end: int, start: int, hits: Hits) -> int:
        """Where the value of a variable ends: of an environment file or connection string, or one that is a literal."""
        name_start = _name_start(text, name_end)
        name = text[name_start:name_end]
        before = text[name_start - 1] if name_start else "\n"
        is_set = before in "-=" and _is_of_an_option(text, name_start)
        is_named = bool(name) and hits(name)
        # one letter may stand before the name: -DTOKEN=…
        if not (is_named or (is_set and hits(name[1:]))) or _ends_a_literal(text, start):
            return -1
        if (quote := compiled(QUOTE).match(text, start)) is not None:
            end, _ = value_end(text, start, _LINE_VALUE)
            return end if end > start + 1 and (is_named or is_credential(text[quote.end() : end])) else -1
        if name.isupper() and (before.isspace() or before in ";\"'`:+>=\0"):
            return end_of(text, start, _LINE_VALUE)
        end = self._whole.end(text, start) if name.lower().endswith("signature") else self._parts.end(text, start)
        if end < 0:
            return -1
        after = text[end : end + 1]
        looks_secret = is_credential(text[start : min(end, start + _LONGEST_WORD)])
        if before == "," and looks_secret and after in {"", ",", '"', "'", "\n", "\r", " "}:
            return end if _is_of_a_connection(text, name_start) else -1
        if not (not after or after.isspace() or after in ";&\"'"):
            return -1
        if before in "\"'" and after == before and looks_secret:  # of an error's repr
            return end
        if before in "\n;" or after == ";" or text.endswith(_SETTING_STARTS, max(name_start - 20, 0), name_start):
            return end
        if after == "&" and (before.isspace() or before in "\"'`:="):  # the first field of a form
            return end
        is_property = is_set and not name.isupper()  # of Java, say; a compiler's macros are no secrets: -DUSE_AUTH=ON
        is_word = looks_secret and (is_set or before.isspace() or before == ":")
        if (is_property or is_word) and after not in {";", "&"}:
            return end  # of a log, an error's repr, or what an option of a command sets
        return end if (before.isspace() or before in "\"'") and _has_neighbours(text, name_start, end) else -1


def _ends_a_literal(text: str, start: int) -> bool:
    """Whether what stands behind `=` is the end of a literal of code, to which something is added: `"token=" + token`."""
    end = compiled(_END_OF_LITERAL).match(text, start)
    if end is None:
        return False
    return text[max(start - _NEAR, 0) : start].rpartition("\n")[2].count(end[1]) % 2 == 1


def _has_neighbours(text: str, start: int, end: int) -> bool:
    """Whether what stands at a place is one of several settings, as in host=db user=me password=… and so on."""
    before = text[max(start - 200, 0) : start].rsplit("\n", 1)[-1].split()
    return (bool(before) and "=" in before[-1]) or end_of(text, end, r"[ \t]+[\w.-]{1,80}=[^\s=]") > 0


def _is_of_an_option(text: str, start: int) -> bool:
    """Whether what stands at a place is in an option of a command, -Dname=… or -var=name=…, and not in a line of a diff."""
    word = compiled(_END_OF_A_WORD).split(text[max(start - _LONGEST_NAME, 0) : start])[-1]
    before = start - len(word) - 1
    return word[:1] == "-" and (text[before] != "\n" if before >= 0 else "\n" not in text)


def _is_of_a_connection(text: str, start: int) -> bool:
    """Whether what stands at a place follows other settings of a connection behind a comma, and no arguments of a call."""
    line = text[max(start - _NEAR, 0) : start].rpartition("\n")[2]
    word = compiled(_END_OF_A_WORD).split(line)[-1]
    is_in_a_call = line.count("(") > line.count(")")
    return (":" in word or "=" in word) and _BRACKETS.isdisjoint(word) and not is_in_a_call


def _name_start(text: str, end: int) -> int:
    """Where the name begins that ends at a place."""
    start = end
    while start > max(end - _LONGEST_NAME, 0) and (text[start - 1].isalnum() or text[start - 1] in "_.-"):
        start -= 1
    while start < end and text[start] in ".-":
        start += 1
    return start


def _end_of_member(text: str, name_end: int, start: int, hits: Hits) -> int:
    """Where the value of a member of JSON ends, or of a Python dict."""
    quote = name_end - 1
    while text[quote].isspace() and quote > max(name_end - 5, 0):
        quote -= 1
    if text[quote] not in "\"'":
        return -1
    begin = text.rfind(text[quote], max(quote - _LONGEST_NAME - 4, 0), quote) + 1
    name = text[begin:quote].rstrip("\\")
    if not set(_NO_NAME).isdisjoint(name):
        return -1  # what stands between two strings
    if name == "token" and '"logprob' in text[start : start + _NEAR]:
        return -1  # one of a language model's
    if not name or not hits(name) or compiled(_SCHEMA).match(text, start) or compiled(_PLACEHOLDER).match(text, start):
        return -1
    end, _ = value_end(text, start, _NUMBER)
    if end == start and (word := compiled(_PLAIN_WORD).match(text, start)) and is_credential(word[0]):  # of YAML
        return word.end()
    return end


def _end_of_header(text: str, name_end: int, start: int, hits: Hits) -> int:
    """Where the value of an HTTP header ends."""
    name = compiled(_HEADER_NAME).search(text, max(name_end - _LONGEST_NAME, 0), name_end)
    if name is None or not hits(name[0]):
        return -1
    quote = compiled(QUOTE).match(text, start)
    if quote is not None:
        end, _ = value_end(text, start, "")
        return end if is_credential(text[quote.end() : end]) else -1
    is_line = name[0].lower().endswith(LINE_NAMES)
    if not compiled(_LINE_START if is_line else _HEADER_START).match(text, start):
        return -1
    return end_of(text, start, HEADER_VALUE if is_line else _LINE_VALUE)
