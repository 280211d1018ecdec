"""When two labels, or two paths, are the same to a person: the one place that decides it.

Text that looks the same is the same: letters composed or followed by their accents (NFC, NFD), any
kind of space or hyphen, characters that show nothing. Labels are shown and encoded as `clean_label`
returns them, in the first spelling that a library met, and found by `label_key`, which also ignores
case. A label vector belongs to a clean label, not to its key: a text tower may read "Apple" and
"apple" differently.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

SPACES = "\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
"""Spaces of another width, or at which no line breaks."""
HYPHENS = "\u2010\u2011"
INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
)
"""Soft hyphens, zero-width spaces, and marks of the direction of text."""
VARIANTS = "".join(map(chr, range(0xFE00, 0xFE10)))  # an emoji in color or in black
JOINERS = re.compile("(?<![^\0-\u024f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\0-\u024f])")
"""Joiners at an end or beside a Latin letter, where they show nothing; other scripts need them."""
LAST_CASED = 0x1E943  # the last code point that has another case

PLAIN: dict[int, str | None] = {
    **dict.fromkeys(map(ord, SPACES), " "),
    **dict.fromkeys(map(ord, HYPHENS), "-"),
    **dict.fromkeys(map(ord, INVISIBLE)),
}
"""What stands for each of these characters; None is left out."""

_ODD = re.compile(f"[{''.join(map(chr, PLAIN))}]")
_WITHOUT_VARIANTS = dict.fromkeys(map(ord, VARIANTS))


def clean_label(label: str) -> str:
    """Return a label in NFC, with single spaces and no characters that show nothing."""
    if label.isascii():
        return " ".join(label.split())
    plain = JOINERS.sub("", label.translate(PLAIN))
    return unicodedata.normalize("NFC", " ".join(plain.split()))


def label_key(label: str) -> str:
    """Return the text by which a label is found: equal for every spelling of it, in any case."""
    clean = clean_label(label.translate(_WITHOUT_VARIANTS))
    decomposed = unicodedata.normalize("NFD", clean)  # else "ΐ" in capitals would differ
    return unicodedata.normalize("NFC", decomposed.casefold())


def distinct_labels(labels: Iterable[str]) -> list[str]:
    """Return each label once, in its first spelling; empty ones are left out."""
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(label_key(label), clean_label(label))
    return [label for key, label in first.items() if key]


def path_key(text: str) -> str:
    """Return the text of a path for comparing: any spelling and case, letter by letter.

    Names of cameras are compared in the same way. A letter stays one letter, so that `?` in a
    pattern stands for it.
    """
    if text.isascii():
        return text.lower()
    if _ODD.search(text):  # `translate` is slow, and a search may ask for every path of a library
        text = text.translate(PLAIN)
    composed = unicodedata.normalize("NFC", text)
    return composed.replace("İ", "i").lower().replace("ς", "σ")


@cache
def small_letters() -> dict[int, str]:
    """Return the letters that `path_key` replaces in composed text, by code point."""
    letters = {code: chr(code).lower() for code in range(LAST_CASED + 1)}
    special = {ord("İ"): "i", ord("ς"): "σ"}
    return {code: small for code, small in letters.items() if small != chr(code)} | special
