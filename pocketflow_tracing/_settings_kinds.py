"""The kinds of value that settings take.

A kind takes text (from the environment) and Python values (from arguments) alike, and answers with the value to use or
refuses with `RefusedError`. Nothing else leaves a kind, whatever it is given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ._guard import is_hosts

__all__ = ["DEFAULT", "Kind", "RefusedError", "shown", "shown_secret"]

DEFAULT = object()
"""Stands for "use the setting's default" where None is a value."""

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_PLACEHOLDER = re.compile(r"(^|[\W_])your|\.\.\.|…|^<.*>$|x{4,}|placeholder|change[-_ ]?me", re.IGNORECASE)
_KEY_OR_USER = re.compile(
    r"(?<![A-Za-z0-9])sk-[\w-]{6,}|(?<=://)[^@\s]*@|(?<=//)[^/@\s]*@|(?<!\S)(?!\w{1,20}://)[^@\s]+:[^@\s]*@"
)
"""A key, or the user part of a URL, also of one that is none: without "//", or with a slash in its password."""
_LONGEST = 2000
"""Characters of a value that are looked at, of which 120 are shown at most."""
_QUERY = re.compile(r"(://[^\s?#]*[?#]|\?(?=[^\s?]*=))\S+")


class RefusedError(ValueError):
    """A value that a setting does not take.

    Args:
        why: what is wrong, in place of the value ("still holds a placeholder"); "" shows the value itself.
        instead: what is used in its place. The default, unless that would record more than the user asked for.
        used: says what `instead` is.
    """

    def __init__(self, why: str = "", *, instead: Any = DEFAULT, used: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.instead = instead
        self.used = used


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Args:
        accepts: what it takes, completing the words "accepted: …".
        convert: answers the value to use; raises ValueError, TypeError or OverflowError for what it does not take.
    """

    accepts: str
    convert: Callable[[Any], Any]

    def read(self, value: object) -> Any:
        """Return the value to use.

        Raises:
            RefusedError: the value is not of this kind.
        """
        try:
            return self.convert(value)
        except RefusedError:
            raise
        except (ValueError, TypeError, OverflowError) as error:
            if is_hosts(error):
                raise
            raise RefusedError from error


def shown(value: object, quote: str = "") -> str:
    """Return a value as short text on one line, without running code of strangers and without keys in it.

    Args:
        value: anything.
        quote: stands around text.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "not set"
    if isinstance(value, str):
        if not value and not quote:
            return "not set"
        text = str(value)[:_LONGEST]
        text = text if text.isprintable() else ascii(text)[1:-1]
        text = _KEY_OR_USER.sub(lambda hit: "sk-…" if hit[0].startswith("sk-") else "…@", text)
        text = _QUERY.sub(lambda found: f"{found[1]}…", text)
        return f"{quote}{text if len(text) <= 120 else text[:100] + '…'}{quote}"
    if type(value) is int:
        return str(value) if value.bit_length() <= 128 else "a huge number"
    if type(value) is float:
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        if not value:
            return "none"
        names = type(value) in {list, tuple} and all(type(item) is str for item in value)
        return ", ".join(map(shown, value)) if names else f"a {type(value).__name__} of {len(value)}"
    return "a function" if callable(value) else f"a {type(value).__name__}"


def shown_secret(value: object) -> str:
    """Return what may be seen of a key: "sk-lf-…abcd", or whether it is set at all."""
    if not isinstance(value, str) or not value:
        return "not set" if value is None or isinstance(value, str) else "set"
    prefix = re.match(r"(sk|pk)-lf-", value)
    return f"{prefix[0]}…{value[-4:]}" if prefix and len(value) >= 18 else "set"


# ------------------------------------------------------------------------------------------------------------- kinds


def _text(value: object) -> str | None:
    if value is None:
        return None
    if type(value) is not int and not isinstance(value, str):  # numbers are common as ids
        raise RefusedError
    text = str(value).strip()
    if any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise RefusedError
    return text or None


def _key(wrong_prefix: str) -> Callable[[object], str | None]:
    def convert(value: object) -> str | None:
        text = _text(value)
        if text and _PLACEHOLDER.search(text):
            raise RefusedError("still holds a placeholder")
        if text and not text.isascii():
            raise RefusedError("holds characters that no key has")
        if text and text.startswith(wrong_prefix):
            raise RefusedError("holds the other one of the two keys")
        return text

    return convert


def _url(value: object) -> Any:
    text = _text(value)
    if text is None:
        return DEFAULT
    from urllib.parse import urlsplit  # noqa: PLC0415 (costs milliseconds at import)

    parts = urlsplit(text)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or parts.port == 0 or " " in text:
        raise RefusedError
    address, *rest = re.split(r"[?#]", text, maxsplit=1)
    address = address.rstrip("/")
    if rest:  # it would stand in the middle of what is asked, and in whatever names the server
        raise RefusedError("has a query or a fragment", instead=address, used="The address before it is used")
    return address


def _environment(value: object) -> str | None:
    text = _text(value)
    if text is not None and not re.fullmatch(r"(?!langfuse)[a-z0-9_-]{1,40}", text):
        raise RefusedError
    return text


def _bool(value: object) -> bool:
    if isinstance(value, bool) or (type(value) is int and value in {0, 1}):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _TRUE + _FALSE:
        raise RefusedError
    return word in _TRUE


def whole(most: int = 1_000_000_000) -> Kind:
    """Return the kind of whole numbers from 1 to `most`."""

    def convert(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise RefusedError
        number = int(value)
        if not 1 <= number <= most:
            raise RefusedError
        return number

    return Kind(f"a whole number from 1 to {most:,}", convert)


def number(least: float, most: float, accepts: str, *, above: bool = False) -> Kind:
    """Return the kind of finite numbers from `least` to `most`, `least` itself left out with `above`."""

    def convert(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise RefusedError
        found = float(value)
        if not least <= found <= most or (above and found == least):  # NaN is refused here too
            raise RefusedError
        return int(found) if found.is_integer() and type(value) is int else found

    return Kind(accepts, convert)


def _store(value: object) -> Any:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or "\0" in text or "://" in text:
        raise RefusedError
    word = text.strip().lower()
    if word in {"auto", "", *_TRUE}:
        return "auto"
    return "off" if word in {"none", *_FALSE} else text.strip()


def _names(value: object) -> tuple[str, ...]:
    """Take comma separated names or a collection of them; what is no text in a collection is refused, the rest kept."""
    items = value.split(",") if isinstance(value, str) else value
    if items is None:
        return ()
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise RefusedError
    names = tuple(str(item).strip() for item in items if isinstance(item, str) and item.strip())
    if any(not isinstance(item, str) for item in items):
        raise RefusedError("holds something that is no text", instead=names, used="The texts in it are used")
    return names


def _tags(value: object) -> tuple[str, ...]:
    return _names([value] if isinstance(value, str) else value)


def _mapping(value: object) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise RefusedError
    return dict(value)


def _withheld(*_value_and_path: object) -> NoReturn:
    raise TypeError("TracingConfig.mask is not callable")


def _mask(value: object) -> object:
    if value is not None and not callable(value):
        raise RefusedError(
            instead=_withheld, used="Every value is withheld"
        )  # who asks for a mask must not send unmasked values
    return value


def _serializers(value: object) -> dict[type, Any]:
    given = _mapping(value)
    good = {kind: function for kind, function in given.items() if isinstance(kind, type) and callable(function)}
    if len(good) < len(given):
        raise RefusedError("holds an entry that is not type: function", instead=good, used="The other entries are used")
    return good


def _policies(value: object) -> dict[str, str]:
    given = _mapping(value)
    words = {"record", "summarise", "hide"}
    good = {
        key: word if isinstance(word, str) and word in words else "hide"
        for key, word in given.items()
        if isinstance(key, str)
    }
    wrong = [key for key, word in good.items() if given[key] != word]
    if wrong or len(good) < len(given):  # an unknown word hides: recording could show what was to be hidden
        what = f"has no known policy for {', '.join(map(shown, wrong))}" if wrong else "has a key that is no text"
        raise RefusedError(
            what, instead=good, used="What stands there is hidden" if wrong else "The other entries are used"
        )
    return good


BOOL = Kind("1/0, true/false, yes/no, on/off (any case)", _bool)
TEXT = Kind("text on one line", _text)
PUBLIC_KEY = Kind("the public key of a Langfuse project (pk-lf-…)", _key("sk-lf-"))
SECRET_KEY = Kind("the secret key of a Langfuse project (sk-lf-…)", _key("pk-lf-"))
URL = Kind("a URL that begins with http:// or https://", _url)
ENVIRONMENT = Kind('up to 40 lowercase letters, digits, "-" and "_", not beginning with "langfuse"', _environment)
RATE = number(0, 1, "a number from 0 to 1")
SECONDS = number(0, 86_400, "seconds, above 0 and up to 86,400", above=True)
SECONDS_OR_ZERO = number(0, 86_400, "seconds, from 0 to 86,400")
MEGABYTES = number(0, 1_000_000, "megabytes, above 0 and up to 1,000,000", above=True)
COUNT = whole()
DEPTH = whole(100)
STORE = Kind('the path of a file, "auto" or "off"', _store)
NAMES = Kind("key names, separated by commas", _names)
TAGS = Kind("a list or tuple of text", _tags)
MAPPING = Kind("a dict", _mapping)
MASK = Kind("a function of value and path", _mask)
SERIALIZERS = Kind("a dict of type: function", _serializers)
POLICIES = Kind('a dict of key pattern: "record", "summarise" or "hide"', _policies)
