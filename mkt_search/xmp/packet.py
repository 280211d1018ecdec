"""An XMP packet: parsed with care, and read the same however its RDF is spelled.

A property may be an attribute of `rdf:Description` or an element in it; a structure may have
`rdf:parseType="Resource"`, an `rdf:Description` of its own, or be all attributes; a keyword may be
an array of one, or plain text.
"""

import codecs
from collections.abc import Iterator
from typing import TypeAlias

from lxml import etree

from mkt_search.errors import XmpError
from mkt_search.xmp.names import (
    ABOUT,
    ALTERNATIVES,
    ARRAYS,
    DESCRIPTION,
    ITEM,
    LANGUAGE,
    PARSE_TYPE,
    RDF,
    RESOURCE,
    VALUE,
    XML,
    name,
)

MAX_BYTES = 16 * 1024**2
"""Bytes of a packet; those with a history of thousands of edits have about one MB."""

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
"""Of a property: text, an array, or a structure by full names."""

_ENCODINGS = (  # by the first bytes; XMP is Unicode
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)


def parse(data: bytes) -> etree._ElementTree:
    """Return the XML tree of a packet that has an `rdf:RDF` element.

    Nothing is fetched and no entity is resolved; a document type, in which bombs are declared, is
    refused.

    Raises:
        XmpError: it is too large, not XML, or has no RDF; the text is the end of a sentence.
    """
    if len(data) > MAX_BYTES:
        raise XmpError(f"larger than {MAX_BYTES // 1024**2} MB, which no packet of XMP is")
    text = _decoded(data).strip("\0 \t\r\n\ufeff")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise XmpError("it declares a document type, which XMP does not have")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, encoding="utf-8"
    )
    try:
        root = etree.fromstring(text.encode("utf-8", "surrogatepass"), parser)
    except (etree.XMLSyntaxError, ValueError) as problem:
        why = " ".join(str(problem).split())[:120]
        raise XmpError(f"broken XML ({why})" if text else "an empty file") from None
    if _rdf_of(root) is None:
        raise XmpError("XML without RDF, so it is no XMP")
    return root.getroottree()


def _decoded(data: bytes) -> str:
    encoding = next((known for head, known in _ENCODINGS if data.startswith(head)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise XmpError("its text is not Unicode, as XMP must be") from None


def _rdf_of(root: etree._Element) -> etree._Element | None:
    return root if root.tag == RDF else next(root.iter(RDF), None)


class Packet:
    """The properties of a packet; `tree` is its XML.

    Names are short, `prefix:local`, with the prefixes of `names.NAMESPACES`.
    """

    def __init__(self, data: bytes) -> None:
        """Parse a packet; see `parse` for what it raises."""
        self.tree = parse(data)
        rdf = _rdf_of(self.tree.getroot())
        assert rdf is not None
        self.rdf = rdf

    def descriptions(self) -> Iterator[etree._Element]:
        """Yield the elements that have the properties of the photo."""
        yield from self.rdf.iterchildren(DESCRIPTION)

    def values(self, short: str) -> Iterator[Value]:
        """Yield every value of a property; more than one if it stands in several descriptions."""
        full = name(short)
        for description in self.descriptions():
            if (text := description.get(full)) is not None:
                yield text
            for element in description.iterchildren(full):
                yield _value(element)

    def text(self, short: str) -> str | None:
        """Return the text of a property; of an array, the first. None if it is missing or empty."""
        return next(iter(self.texts(short)), None)

    def texts(self, short: str) -> list[str]:
        """Return the texts of an array, or the one text; without empty ones."""
        found = (
            item
            for value in self.values(short)
            for item in (value if isinstance(value, list) else [value])
        )
        return [text for item in found if isinstance(item, str) and (text := item.strip())]

    def structures(self, short: str) -> list[dict[str, Value]]:
        """Return the structures of an array, or the one structure."""
        found = (
            item
            for value in self.values(short)
            for item in (value if isinstance(value, list) else [value])
        )
        return [item for item in found if isinstance(item, dict)]

    def alternative(self, short: str) -> str | None:
        """Return the text of a property in its default language, else in the first."""
        full, first = name(short), None
        for description in self.descriptions():
            for element in description.iterchildren(full):
                for item in element.iterfind(f"{ALTERNATIVES}/{ITEM}"):
                    value = _value(item)
                    if not isinstance(value, str) or not value.strip():
                        continue
                    if item.get(LANGUAGE, "").lower() == "x-default":
                        return value.strip()
                    first = first or value.strip()
        return first or self.text(short)


def _value(element: etree._Element) -> Value:
    """Return the value of a property or an array's item, whatever its spelling."""
    children = list(element.iterchildren("*"))
    if children and children[0].tag in ARRAYS:
        return [_value(item) for item in children[0].iterchildren(ITEM)]
    if element.get(PARSE_TYPE) == "Resource":
        return _structure(element)
    if children and children[0].tag == DESCRIPTION:
        return _structure(children[0])
    if (resource := element.get(RESOURCE)) is not None:
        return resource
    if not children:
        fields = {str(key) for key in element.attrib if not _is_syntax(str(key))}
        if not fields:
            return element.text or "" if not len(element) else str(element.xpath("string()"))
    return _structure(element)


def _structure(element: etree._Element) -> Value:
    """Return the fields of a structure, or the value that it qualifies."""
    fields: dict[str, Value] = {
        str(key): str(value) for key, value in element.attrib.items() if not _is_syntax(str(key))
    }
    if (value := element.get(VALUE)) is not None:
        return value
    for child in element.iterchildren("*"):
        fields[str(child.tag)] = _value(child)
    return fields.get(VALUE, fields)


def _is_syntax(full: str) -> bool:
    return full.startswith((f"{{{XML}}}", ABOUT.removesuffix("about")))
