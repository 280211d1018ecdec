"""A packet reads the same however its RDF is spelled, and no packet does harm."""

import pytest

from mkt_search.errors import XmpError
from mkt_search.xmp.names import name
from mkt_search.xmp.packet import MAX_BYTES, Packet
from tests.xmp.packets import LIGHTROOM, array, packet

BOMB = b"""<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
""" + packet("<dc:subject>&b;</dc:subject>")


@pytest.mark.parametrize(
    "spelling",
    [
        packet(array("dc:subject", "horse")),
        packet(array("dc:subject", "horse", kind="Seq")),
        packet("<dc:subject>horse</dc:subject>"),
        packet("<dc:subject>ho<!-- a comment -->rse</dc:subject>"),
        packet("", 'dc:subject="horse"'),
        packet(
            "<dc:subject><rdf:Bag><rdf:li rdf:parseType='Resource'><rdf:value>horse</rdf:value>"
            "</rdf:li></rdf:Bag></dc:subject>"
        ),
        packet(array("dc:subject", "horse")).decode().encode("utf-16"),
        packet(array("dc:subject", "horse")).decode().encode("utf-32-le"),
        b"\xef\xbb\xbf" + packet(array("dc:subject", "horse")) + b"\0\0  ",
        packet(
            "</rdf:Description>"
            '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            + array("dc:subject", "horse")
        ),
    ],
)
def test_a_keyword_reads_the_same_in_every_spelling(spelling: bytes) -> None:
    assert Packet(spelling).texts("dc:subject") == ["horse"]


@pytest.mark.parametrize(
    "entry",
    [
        "<rdf:li mkt:label='a' mkt:run='1'/>",
        "<rdf:li rdf:parseType='Resource'><mkt:label>a</mkt:label><mkt:run>1</mkt:run></rdf:li>",
        "<rdf:li><rdf:Description mkt:label='a'><mkt:run>1</mkt:run></rdf:Description></rdf:li>",
        "<rdf:li><rdf:Description><mkt:label>a</mkt:label><mkt:run>1</mkt:run>"
        "</rdf:Description></rdf:li>",
    ],
)
def test_a_structure_reads_the_same_in_every_spelling(entry: str) -> None:
    found = Packet(packet(f"<mkt:tags><rdf:Bag>{entry}</rdf:Bag></mkt:tags>"))
    assert found.structures("mkt:tags") == [{name("mkt:label"): "a", name("mkt:run"): "1"}]


def test_a_title_is_read_in_the_default_language() -> None:
    assert Packet(LIGHTROOM).alternative("dc:title") == "A horse"
    assert Packet(packet("<dc:title>plain</dc:title>")).alternative("dc:title") == "plain"
    assert Packet(packet()).alternative("dc:title") is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "an empty file"),
        (b"\0" * 100, "an empty file"),
        (LIGHTROOM[:-80], "broken XML"),
        (b"<a/>", "no XMP"),
        (BOMB, "document type"),
        (BOMB.decode().encode("utf-16"), "document type"),
        (packet(array("dc:subject", "K\xf6ln")).decode().encode("latin-1"), "not Unicode"),
        (packet("<a>" * 400 + "</a>" * 400), "broken XML"),
        (b" " * (MAX_BYTES + 1), "larger than 16 MB"),
    ],
)
def test_what_is_no_packet_is_refused_with_a_reason(data: bytes, why: str) -> None:
    with pytest.raises(XmpError, match=why):
        Packet(data)


def test_nothing_is_fetched_and_nothing_is_run() -> None:
    for harmful in (
        b'<?xml-stylesheet href="file:///etc/passwd"?>' + packet(array("dc:subject", "a")),
        packet(
            '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>'
            + array("dc:subject", "a")
        ),
    ):
        assert Packet(harmful).texts("dc:subject") == ["a"]
