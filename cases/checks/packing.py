"""Compression: what others have packed is unpacked, and what is packed comes back."""

from __future__ import annotations

import base64
import bz2
import gzip
import importlib
import lzma
import sys
import zlib
from typing import Any

TEXT = b"a release, an interpreter, an extension; " * 40

# TEXT as packed by other builds.
PACKED = {
    "zlib": ("eNpLVChKzUlNLE7VUUjMU8jMK0ktKihKBZJgfmpFSWpecWZ+nrVC4qjCUYWjCkcVjiocVUi6QgBLk06/"),
    "gzip": (
        "H4sIAAAAAAAC/0tUKErNSU0sTtVRSMxTyMwrSS0qKEoFkmB+akVJal5xZn6etULiqMJRhaMKRxWOKhxVSLpC"
        "AHrNz4FoBgAA"
    ),
    "bz2": (
        "QlpoOTFBWSZTWbH4XCkAAMeZgEAEAAgiJdxAMACYEAAAgAABSqeoaRiMEwJ0E4E7E0JuJoVYJ4J9E5E9FWwn"
        "ITgTkToJ4JgngTQmCaE9EwTQnYn4TcTBNhP4u5IpwoSFj8LhSA=="
    ),
    "xz": (
        "/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4AZnADNdADCICkaUHb0w0p6fY6S8OgWfxdcgkpvKOQLLfeKFEmhH"
        "qJxDmZOrkU/QxGx5Bu11IA7YAAAAROU3ti+O4E3z/KTeOTI4bvD98PdfFHqYYqWKqvfteFIAAWfoDAAAAJnY"
        "1oS26d8cAgAAAAAKWVo="
    ),
    "zstd": (
        "KLUv/WRoBX0BAEQCYSByZWxlYXNlLCBhbiBpbnRlcnByZXRlcmV4dGVuc2lvbjsgAgA8MvV9I8wxjvfqAw=="
    ),
}

SUMS = (2177879418, 1267945151)
"""CRC-32 and Adler-32 of TEXT."""


def check_compression() -> str:
    """Every format that this CPython has."""
    formats: dict[str, Any] = {"zlib": zlib, "gzip": gzip, "bz2": bz2, "xz": lzma}
    if sys.version_info >= (3, 14):
        formats["zstd"] = importlib.import_module("compression.zstd")
    incompressible = bytes((number * number * 2654435761 >> 11) & 255 for number in range(30000))
    for name, module in formats.items():
        unpacked = module.decompress(base64.b64decode(PACKED[name]))
        assert unpacked == TEXT, f"{name} unpacks {unpacked[:40]!r}…"
        for data in (b"", TEXT, incompressible):
            packed = module.compress(data)
            assert module.decompress(packed) == data, f"{name} gives other bytes back"
        assert len(module.compress(TEXT)) < len(TEXT) / 4, f"{name} does not compress"
    sums = zlib.crc32(TEXT), zlib.adler32(TEXT)
    assert sums == SUMS, f"checksums are {sums} instead of {SUMS}"
    for check in (lzma.CHECK_CRC64, lzma.CHECK_SHA256):
        assert lzma.is_check_supported(check), f"lzma lacks check {check}"
    return ", ".join(formats)
