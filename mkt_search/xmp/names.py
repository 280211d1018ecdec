"""The names of XMP that are read and written, in lxml's notation: `{namespace}name`."""

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "mkt": "urn:mkt-search:xmp/1.0/",
}
"""Namespaces by the prefix that programs give them; `mkt` is our own."""

XML = "http://www.w3.org/XML/1998/namespace"
LANGUAGE = f"{{{XML}}}lang"


def name(short: str) -> str:
    """Return the full name of `prefix:local`, such as `dc:subject`."""
    prefix, _, local = short.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


RDF = name("rdf:RDF")
DESCRIPTION = name("rdf:Description")
ABOUT = name("rdf:about")
PARSE_TYPE = name("rdf:parseType")
RESOURCE = name("rdf:resource")
VALUE = name("rdf:value")
ITEM = name("rdf:li")
BAG, SEQUENCE, ALTERNATIVES = name("rdf:Bag"), name("rdf:Seq"), name("rdf:Alt")
ARRAYS = frozenset((BAG, SEQUENCE, ALTERNATIVES))
