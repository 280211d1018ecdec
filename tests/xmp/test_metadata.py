"""What people wrote about a photo is read from all fields of all programs."""

from pathlib import Path

import pytest
from PIL import Image

from mkt_search.photos.embedded import KEYWORDS, Embedded
from mkt_search.xmp.metadata import Metadata, of_embedded, of_packet, read_metadata
from mkt_search.xmp.packet import Packet
from tests.xmp.packets import DIGIKAM, EVERY_PROGRAM, LIGHTROOM, array, packet

HORSE = ("animal", "horse")


@pytest.mark.parametrize(
    ("program", "keywords", "rating"),
    [
        ("Lightroom", {HORSE, ("Köln",)}, 4),
        ("digiKam", {HORSE, ("People", "Anna")}, 3),
        ("darktable", {HORSE}, -1),
        ("Immich", {HORSE, ("sea",)}, None),
        ("PhotoPrism", {("horse",), ("sea",)}, None),
        ("Photo Mechanic", {HORSE, ("sea",)}, None),
    ],
)
def test_the_keywords_of_each_program_are_read_once(
    program: str, keywords: set[tuple[str, ...]], rating: int | None
) -> None:
    found = of_packet(Packet(EVERY_PROGRAM[program]))
    assert set(found.keywords) == keywords and len(found.keywords) == len(keywords)
    assert found.rating == rating


def test_captions_and_places_are_read() -> None:
    found = of_packet(Packet(LIGHTROOM))
    assert (found.title, found.city, found.country) == ("A horse", "Köln", "Germany")
    found = of_packet(Packet(EVERY_PROGRAM["Photo Mechanic"]))
    assert (found.location, found.state, found.title) == ("Beach", "Kent", None)


def test_regions_are_boxes() -> None:
    (face,) = of_packet(Packet(DIGIKAM)).regions
    assert (face.name, face.kind) == ("Anna", "Face")
    edges = (face.box.left, face.box.top, face.box.right, face.box.bottom)
    assert edges == pytest.approx((0.4, 0.3, 0.6, 0.7))


@pytest.mark.parametrize(
    ("attributes", "rating"),
    [
        ('xmp:Rating="5"', 5),
        ('xmp:Rating="3.0"', 3),
        ('xmp:Rating="99"', 5),
        ('MicrosoftPhoto:Rating="75"', 4),
        ('MicrosoftPhoto:Rating="0"', 0),
        ('xmp:Rating="nan"', None),
        ('xmp:Rating="good"', None),
    ],
)
def test_a_rating_is_whole_stars(attributes: str, rating: int | None) -> None:
    assert of_packet(Packet(packet("", attributes))).rating == rating


def test_what_a_run_put_there_is_no_keyword_of_a_person() -> None:
    entries = "".join(
        f"<rdf:li mkt:label='{label}' mkt:source='{source}' mkt:run='7' mkt:p='0.9'/>"
        for label, source in (("animal|horse", "auto"), ("sea", "human"), ("", "auto"), ("x", "?"))
    )
    found = of_packet(
        Packet(
            packet(
                array("lr:hierarchicalSubject", "animal|horse", "sea", "mine")
                + array("dc:subject", "horse", "sea", "mine")
                + f"<mkt:tags><rdf:Bag>{entries}</rdf:Bag></mkt:tags>"
            )
        )
    )
    assert found.keywords == (("sea",), ("mine",))
    assert [(tag.keyword, tag.source, tag.run, tag.p) for tag in found.own] == [
        (HORSE, "auto", 7, 0.9),
        (("sea",), "human", 7, 0.9),
    ]


def test_a_broken_packet_inside_a_photo_says_nothing() -> None:
    block = Embedded(b"<x:xmpmeta", {KEYWORDS: ("sea", " horse ", "Horse", "")})
    assert of_embedded(block) == Metadata(keywords=(("sea",), ("horse",)))


def test_a_photo_has_the_keywords_of_all_its_sidecars_and_its_own(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    inside = packet(array("dc:subject", "inside", "horse"), 'xmp:Rating="1" photoshop:City="Bonn"')
    Image.new("RGB", (8, 8)).save(photo, xmp=inside)
    assert read_metadata(photo).keywords == (("inside",), ("horse",))
    (tmp_path / "a.jpg.xmp").write_bytes(packet("", 'xmp:Rating="2"'))
    (tmp_path / "a.xmp").write_bytes(LIGHTROOM)
    found = read_metadata(photo)
    assert set(found.keywords) == {HORSE, ("Köln",), ("inside",)}
    assert (found.rating, found.city, found.title) == (2, "Köln", "A horse")


def test_a_broken_sidecar_is_left_out_and_named(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(photo, xmp=packet(array("dc:subject", "inside")))
    (tmp_path / "a.xmp").write_bytes(LIGHTROOM[:300])
    found = read_metadata(photo)
    assert found.keywords == (("inside",),)
    assert "a.xmp: not read as XMP: broken XML" in found.problems[0]
