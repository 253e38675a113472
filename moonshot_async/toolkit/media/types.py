"""What kind of image or video some bytes are: by how they begin, then by the name of the file.

The names of video types are those that the API lists, which are not all registered ones.
"""

from typing import Final

IMAGE_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
}
VIDEO_TYPES: Final = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mov": "video/mov",
    "avi": "video/avi",
    "flv": "video/x-flv",
    "webm": "video/webm",
    "wmv": "video/wmv",
    "3gp": "video/3gpp",
    "3gpp": "video/3gpp",
}
_OTHER_NAMES: Final = {"svg": "image/svg+xml", "svgz": "image/svg+xml", "heic": "image/heic", "avif": "image/avif"}

_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    # The id of the header object of ASF.
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/wmv"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"AVI ": "video/avi"}
# QuickTime files from before `ftyp` begin with one of these atoms.
_ATOMS: Final = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_EBML: Final = b"\x1a\x45\xdf\xa3"
_BRANDS: Final = {
    b"qt  ": "video/mov",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
}


def media_type_of(data: bytes, name: str = "") -> str | None:
    """The media type of `data`, perhaps one that the API does not take; None where neither content nor name tell."""
    return _by_content(data) or _by_name(name)


def _by_content(data: bytes) -> str | None:
    for beginning, media_type in _BEGINNINGS:
        if data.startswith(beginning):
            return media_type
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12])
    if data.startswith(_EBML):
        return "video/webm" if b"webm" in data[:64] else "video/x-matroska"
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "video/3gpp" if brand.startswith((b"3gp", b"3g2")) else _BRANDS.get(brand, "video/mp4")
    if data[4:8] in _ATOMS:
        return "video/mov"
    return "image/svg+xml" if _is_svg(data) else None


def _is_svg(data: bytes) -> bool:
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return head.startswith(b"<svg") or (head.startswith((b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in head)


def _by_name(name: str) -> str | None:
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    return (IMAGE_TYPES | VIDEO_TYPES | _OTHER_NAMES).get(extension)
