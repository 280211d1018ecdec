"""What people wrote about a photo, in it or in a sidecar: keywords, rating, captions, places."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mkt_search.errors import XmpError
from mkt_search.files import read_bytes
from mkt_search.photos import embedded
from mkt_search.photos.embedded import Embedded, read_embedded
from mkt_search.spelling import clean_label, label_key
from mkt_search.types import LEVEL, Box, Source
from mkt_search.xmp.names import name
from mkt_search.xmp.packet import MAX_BYTES, Packet, Value
from mkt_search.xmp.sidecars import find_sidecars

Keyword = tuple[str, ...]
"""A keyword below its parents: ("animal", "horse"); one that has none is a tuple of one."""

FLAT = "dc:subject"
HIERARCHIES = {
    "lr:hierarchicalSubject": "|",
    "digiKam:TagsList": "/",
    "MicrosoftPhoto:LastKeywordXMP": "/",
    "mediapro:CatalogSets": "|",
}
"""Properties with keywords below their parents, and what separates the levels."""

OWN_TAGS = "mkt:tags"
INTERNAL = frozenset(("darktable", "_digikam_internal_tags_"))
"""Topmost levels of what programs keep for themselves among the keywords."""

BEST_RATING, REJECTED = 5, -1
_PERCENT = ((99, 5), (75, 4), (50, 3), (25, 2), (1, 1))  # of Windows, and stars


@dataclass(frozen=True)
class OwnTag:
    """A keyword that mkt put into a packet; `run` set it, `p` is as in `types.Tag`.

    `writer` is the library that wrote it.
    """

    keyword: Keyword
    source: Source
    run: int | None = None
    p: float | None = None
    writer: str = ""


@dataclass(frozen=True)
class Region:
    """A named part of a photo; `box` is relative to the image as it is stored.

    `kind` is "Face", "Pet" and the like; "" if it is not given.
    """

    name: str
    kind: str
    box: Box


@dataclass(frozen=True)
class Metadata:
    """What people wrote about a photo.

    `keywords` are without those that programs keep for themselves, and without those that a run of
    mkt put there, which are among `own`. `rating` is 1 to 5, 0 for none given, -1 for rejected, or
    None. `problems` say which sidecars could not be read, and why.
    """

    keywords: tuple[Keyword, ...] = ()
    rating: int | None = None
    title: str | None = None
    caption: str | None = None
    location: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    regions: tuple[Region, ...] = ()
    own: tuple[OwnTag, ...] = ()
    problems: tuple[str, ...] = field(default=(), compare=False)


def read_metadata(photo: Path, sidecars: Sequence[Path] | None = None) -> Metadata:
    """Return what a photo and its sidecars say: all their keywords, and of each other fact that of
    the first that has it: `photo.jpg.xmp`, `photo.xmp`, the XMP inside the photo, its IPTC.

    A packet that cannot be read is left out; `problems` names the sidecar.

    Args:
        photo: the file.
        sidecars: those of the photo, if they are known already.

    Raises:
        OSError: the photo, or its folder, cannot be read.
    """
    found, problems = [], []
    for sidecar in find_sidecars(photo) if sidecars is None else sidecars:
        try:
            found.append(of_packet(read_packet(sidecar)))
        except XmpError as problem:
            problems.append(str(problem))
    found.append(of_embedded(read_embedded(photo)))
    return replace(joined(found), problems=tuple(problems))


def read_packet(sidecar: Path) -> Packet:
    """Return the packet of a sidecar.

    Raises:
        XmpError: it cannot be read, or is no XMP; the text is a sentence that names it.
    """
    try:
        return Packet(read_bytes(sidecar, at_most=MAX_BYTES))
    except XmpError as problem:
        raise XmpError(f"{sidecar}: not read as XMP: {problem}.") from None
    except OSError as problem:
        raise XmpError(f"{sidecar}: cannot be read ({problem.strerror or problem}).") from None


def of_embedded(block: Embedded) -> Metadata:
    """Return what a photo says of itself, in XMP and in IPTC; a broken packet says nothing."""
    try:
        packet = of_packet(Packet(block.xmp)) if block.xmp else Metadata()
    except XmpError:
        packet = Metadata()
    return joined([packet, of_iptc(block)])


def of_iptc(block: Embedded) -> Metadata:
    """Return what the IPTC block of a photo says."""

    def first(dataset: int) -> str | None:
        return next((text for raw in block.iptc.get(dataset, ()) if (text := raw.strip())), None)

    return Metadata(
        keywords=_merged(flat=block.iptc.get(embedded.KEYWORDS, ()), paths=()),
        title=first(embedded.TITLE),
        caption=first(embedded.CAPTION),
        location=first(embedded.LOCATION),
        city=first(embedded.CITY),
        state=first(embedded.STATE),
        country=first(embedded.COUNTRY),
    )


def of_packet(packet: Packet) -> Metadata:
    """Return what a packet says."""
    own = own_tags(packet)
    by_runs = [tag.keyword for tag in own if tag.source == "auto"]
    return Metadata(
        keywords=without(all_keywords(packet), by_runs),
        rating=_rating(packet),
        title=packet.alternative("dc:title"),
        caption=packet.alternative("dc:description"),
        location=packet.text("Iptc4xmpCore:Location"),
        city=packet.text("photoshop:City"),
        state=packet.text("photoshop:State"),
        country=packet.text("photoshop:Country"),
        regions=tuple(_regions(packet)),
        own=tuple(own),
    )


def all_keywords(packet: Packet) -> tuple[Keyword, ...]:
    """Return the keywords of all fields of a packet, each once."""
    paths = [
        split(text, separator)
        for field_, separator in HIERARCHIES.items()
        for text in packet.texts(field_)
    ]
    return _merged(flat=packet.texts(FLAT), paths=paths)


def joined(found: Sequence[Metadata]) -> Metadata:
    """Return what several packets say of one photo, the first first."""
    keywords = [keyword for one in found for keyword in one.keywords]
    facts: dict[str, Any] = {
        fact: next((v for one in found if (v := getattr(one, fact)) is not None), None)
        for fact in ("rating", "title", "caption", "location", "city", "state", "country")
    }
    return Metadata(
        keywords=_merged(
            flat=[keyword[0] for keyword in keywords if len(keyword) == 1],
            paths=[keyword for keyword in keywords if len(keyword) > 1],
        ),
        regions=next((one.regions for one in found if one.regions), ()),
        own=tuple(tag for one in found for tag in one.own),
        **facts,
    )


def key_of(keyword: Keyword) -> Keyword:
    """Return what is equal for every spelling of a keyword."""
    return tuple(map(label_key, keyword))


def split(text: str, separator: str) -> Keyword:
    """Return the levels of a hierarchy, without empty ones."""
    return tuple(level for part in text.split(separator) if (level := clean_label(part)))


def without(keywords: Iterable[Keyword], left_out: Iterable[Keyword]) -> tuple[Keyword, ...]:
    """Return keywords less others, in any spelling."""
    keys = set(map(key_of, left_out))
    return tuple(keyword for keyword in keywords if key_of(keyword) not in keys)


def own_tags(packet: Packet) -> list[OwnTag]:
    """Return what mkt put into a packet; entries that it would not write are left out."""
    found = []
    for entry in packet.structures(OWN_TAGS):
        source = _string(entry.get(name("mkt:source")))
        keyword = split(_string(entry.get(name("mkt:label"))), LEVEL)
        if not keyword or source not in ("auto", "human", "imported"):
            continue
        run, p = _string(entry.get(name("mkt:run"))), _number(_string(entry.get(name("mkt:p"))))
        found.append(
            OwnTag(
                keyword,
                source,  # type: ignore[arg-type]
                run=int(run) if run.isascii() and run.isdigit() and len(run) < 19 else None,
                p=p if p is not None and 0 <= p <= 1 else None,
                writer=_string(entry.get(name("mkt:library"))),
            )
        )
    return found


def _merged(*, flat: Iterable[str], paths: Iterable[Keyword]) -> tuple[Keyword, ...]:
    """Return hierarchical keywords, and those flat ones that are no level of them, each once.

    Programs repeat a keyword's own name, or those of all its levels, in the flat field.
    """
    of_programs: list[Keyword] = []
    found: dict[Keyword, Keyword] = {}
    single = []
    for path in (*paths, *(split(text, LEVEL) for text in flat)):
        if path and key_of(path[:1])[0] in INTERNAL:
            of_programs.append(path)
        elif len(path) > 1:
            found.setdefault(key_of(path), path)
        elif path:
            single.append(path)
    levels = {key for path in (*found, *map(key_of, of_programs)) for key in path}
    for path in single:
        if (key := key_of(path))[0] not in levels:
            found.setdefault(key, path)
    return tuple(found.values())


def _rating(packet: Packet) -> int | None:
    stars = _number(packet.text("xmp:Rating") or "")
    if stars is not None:
        return max(REJECTED, min(BEST_RATING, round(stars)))
    percent = _number(packet.text("MicrosoftPhoto:Rating") or "")
    if percent is None:
        return None
    return next((stars for least, stars in _PERCENT if percent >= least), 0)


def _regions(packet: Packet) -> Iterator[Region]:
    """Yield the regions of the Metadata Working Group (faces), and those of IPTC."""
    for block in packet.structures("mwg-rs:Regions"):
        entries = block.get(name("mwg-rs:RegionList"), [])
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict) and isinstance(area := entry.get(name("mwg-rs:Area")), dict):
                x, y, w, h = (_number(_string(area.get(name(f"stArea:{at}")))) for at in "xywh")
                if None not in (x, y, w, h):
                    assert x is not None and y is not None and w is not None and h is not None
                    yield Region(
                        _string(entry.get(name("mwg-rs:Name"))),
                        _string(entry.get(name("mwg-rs:Type"))),
                        _box(x - w / 2, y - h / 2, w, h),
                    )
    for entry in packet.structures("Iptc4xmpExt:ImageRegion"):
        boundary = entry.get(name("Iptc4xmpExt:RegionBoundary"))
        if not isinstance(boundary, dict):
            continue
        x, y, w, h = (_number(_string(boundary.get(name(f"Iptc4xmpExt:rb{at}")))) for at in "XYWH")
        unit = _string(boundary.get(name("Iptc4xmpExt:rbUnit")))
        if unit == "relative" and None not in (x, y, w, h):
            assert x is not None and y is not None and w is not None and h is not None
            title = entry.get(name("Iptc4xmpExt:Name"), "")
            title = title[0] if isinstance(title, list) and title else title
            yield Region(_string(title), "", _box(x, y, w, h))


def _box(left: float, top: float, width: float, height: float) -> Box:
    def within(value: float) -> float:
        return max(0.0, min(1.0, value))

    return Box(within(left), within(top), within(left + width), within(top + height))


def _string(value: "Value | None") -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
