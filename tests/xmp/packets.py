"""Packets of XMP as programs write them, made by hand from the documented forms."""

HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    ' xmlns:lr="http://ns.adobe.com/lightroom/1.0/"'
    ' xmlns:digiKam="http://www.digikam.org/ns/1.0/"'
    ' xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/"'
    ' xmlns:mediapro="http://ns.iview-multimedia.com/mediapro/1.0/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
    ' xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"'
    ' xmlns:darktable="http://darktable.sf.net/"'
    ' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"'
    ' xmlns:mkt="urn:mkt-search:xmp/1.0/"'
)
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"


def packet(properties: str = "", attributes: str = "") -> bytes:
    """Return a packet with properties as elements and as attributes."""
    return f"{HEAD} {attributes}>{properties}{TAIL}".encode()


def array(name: str, *items: str, kind: str = "Bag") -> str:
    """Return a property that is an array of texts."""
    inside = "".join(f"<rdf:li>{item}</rdf:li>" for item in items)
    return f"<{name}><rdf:{kind}>{inside}</rdf:{kind}></{name}>"


LIGHTROOM = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    + packet(
        array("dc:subject", "horse", "Köln", "animal")
        + array("lr:hierarchicalSubject", "animal|horse", "Köln")
        + '<dc:title><rdf:Alt><rdf:li xml:lang="de">Pferd</rdf:li>'
        '<rdf:li xml:lang="x-default">A horse</rdf:li></rdf:Alt></dc:title>'
        "<crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq>"
        "</crs:ToneCurve>",
        'xmp:Rating="4" photoshop:City="Köln" photoshop:Country="Germany" crs:Exposure2012="+0.35"',
    )
    + b'\n<?xpacket end="w"?>'
)
DIGIKAM = b'<?xml version="1.0" encoding="UTF-8"?>\n' + packet(
    array("digiKam:TagsList", "animal/horse", "People/Anna", kind="Seq")
    + array("MicrosoftPhoto:LastKeywordXMP", "animal/horse", "People/Anna")
    + array("lr:hierarchicalSubject", "animal|horse", "People|Anna")
    + array("mediapro:CatalogSets", "animal|horse", "People|Anna")
    + array("dc:subject", "horse", "Anna")
    + "<mwg-rs:Regions rdf:parseType='Resource'><mwg-rs:RegionList><rdf:Bag>"
    "<rdf:li rdf:parseType='Resource'><mwg-rs:Name>Anna</mwg-rs:Name>"
    "<mwg-rs:Type>Face</mwg-rs:Type>"
    "<mwg-rs:Area stArea:x='0.5' stArea:y='0.5' stArea:w='0.2' stArea:h='0.4'"
    " stArea:unit='normalized'/></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>",
    'xmp:Rating="3" MicrosoftPhoto:Rating="50" digiKam:PickLabel="0"',
)
DARKTABLE = b'<?xml version="1.0" encoding="UTF-8"?>\n' + packet(
    array("dc:subject", "animal", "horse", "darktable", "format", "jpg", kind="Seq")
    + array("lr:hierarchicalSubject", "animal|horse", "darktable|format|jpg", kind="Seq")
    + "<darktable:history><rdf:Seq><rdf:li darktable:num='0' darktable:operation='exposure'"
    " darktable:params='00ff'/></rdf:Seq></darktable:history>",
    'xmp:Rating="-1" darktable:xmp_version="5" darktable:history_end="1"',
)
IMMICH = packet(array("digiKam:TagsList", "animal/horse", "sea", kind="Seq"))
PHOTOPRISM = packet(
    array("dc:subject", "horse", "sea")
    + '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A horse</rdf:li></rdf:Alt></dc:title>'
)
PHOTO_MECHANIC = packet(
    array("dc:subject", "horse", "sea")
    + array("lr:hierarchicalSubject", "animal|horse")
    + "<Iptc4xmpCore:Location>Beach</Iptc4xmpCore:Location><photoshop:State>Kent</photoshop:State>",
    'photoshop:Urgency="3"',
)
EVERY_PROGRAM = {
    "Lightroom": LIGHTROOM,
    "digiKam": DIGIKAM,
    "darktable": DARKTABLE,
    "Immich": IMMICH,
    "PhotoPrism": PHOTOPRISM,
    "Photo Mechanic": PHOTO_MECHANIC,
}
