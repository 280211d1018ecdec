"""Put right what viewers overlook in a file: side chunks of a PNG, the length of a WebP."""

import zlib
from collections.abc import Mapping
from typing import Any

MAX_SIDE_DATA = 1024**2
"""Bytes of side data that are kept of a PNG, each chunk and all texts unpacked; no decoder needs
more."""

MAX_PROFILE = 4 * 1024**2
"""A larger colour profile is left out."""

MAX_WEBP_DIFFERENCE = 8
"""Bytes by which a WebP may be shorter than the length that its header gives."""

SRGB_GAMMA, SAME_GAMMA = 1 / 2.2, 0.025  # what nearly every gAMA chunk says, and within what
LEAST_GAMMA, MOST_GAMMA = 0.1, 10  # others are mistakes

_SIGNATURE = 8  # bytes before the first chunk of a PNG
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_LENGTHS = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}  # of chunks that Pillow reads
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}  # the still picture is in IDAT


def sound_png(data: bytes) -> tuple[bytes, bytes | None]:
    """Return a PNG without side chunks that decoders refuse, and its colour profile.

    Left out are side chunks with a wrong checksum, too long or too long unpacked, frames after the
    first, and the profile, which is returned. The file is returned as it is where none is left out.
    """
    kept: list[bytes | memoryview] = [data[:_SIGNATURE]]
    view = memoryview(data)
    profile, text, whole, at = None, 0, True, _SIGNATURE
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        is_side = bool(kind[0] & 0x20)
        if is_side and end > len(data):
            return b"".join(kept), profile
        if kind in _TEXTS and length <= MAX_SIDE_DATA:
            text += _text_size(kind, data[at + 8 : end - 4])
        if kind == b"iCCP" and _is_sound(view[at:end]):
            profile = _unpacked_profile(data[at + 8 : end - 4])
        if is_side and (
            kind in _ANIMATION
            or kind == b"iCCP"
            or not _LENGTHS.get(kind, 0) <= length <= MAX_SIDE_DATA
            or not _is_sound(view[at:end])
            or (kind in _TEXTS and text > MAX_SIDE_DATA)
        ):
            whole = False
        else:
            kept.append(view[at:end])
        if kind == b"IEND":
            break
        at = end
    if whole:
        return data, profile
    return b"".join(kept), profile


def png_gamma(info: Mapping[Any, Any]) -> float | None:
    """Return the power of light that the samples of a PNG are; None for about that of sRGB.

    Args:
        info: what Pillow read of the file: `gamma` of gAMA, `srgb` of sRGB, which overrules it.
    """
    gamma = info.get("gamma")
    if gamma is None or "srgb" in info or not LEAST_GAMMA <= gamma <= MOST_GAMMA:
        return None
    return None if abs(gamma - SRGB_GAMMA) < SAME_GAMMA else float(gamma)


def _is_sound(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _text_size(kind: bytes, chunk: bytes) -> int:
    """Return the bytes of a text chunk, unpacked as far as it may be long."""
    if kind == b"tEXt":
        return len(chunk)
    at = chunk.find(b"\0") + 2  # behind the keyword, and for zTXt the method
    if kind == b"iTXt":
        is_packed = chunk[at - 1 : at] == b"\1"
        at = chunk.find(b"\0", chunk.find(b"\0", at + 1) + 1) + 1  # behind two languages
        if not is_packed:
            return len(chunk)
    return len(_unpacked(chunk[at:], MAX_SIDE_DATA + 1))


def _unpacked_profile(chunk: bytes) -> bytes | None:
    name = chunk.find(b"\0")
    profile = _unpacked(chunk[name + 2 :], MAX_PROFILE + 1)
    return profile if 0 < len(profile) <= MAX_PROFILE else None


def _unpacked(packed: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return b""


def sound_webp(data: bytes) -> bytes:
    """Return a WebP whose header gives the length that its chunks have.

    The last chunk may lack its padding. A file that is really cut is returned as it is.
    """
    at, declared = 12, 8 + int.from_bytes(data[4:8], "little")
    while at < declared and at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data) or not data[at : at + 4].isascii():
            break
        at += 8 + length + length % 2
    is_sound = declared == at <= len(data)
    if is_sound or declared > at + MAX_WEBP_DIFFERENCE:
        return data
    body = data[:at].ljust(at, b"\0")
    return body[:4] + (at - 8).to_bytes(4, "little") + body[8:]
