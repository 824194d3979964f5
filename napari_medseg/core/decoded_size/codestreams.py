"""Rows, columns and samples that a compressed frame declares itself: JPEG, JPEG-LS, JPEG 2000, PNG and
WebP.

DICOM and TIFF keep such frames, and state the size once more. A decoder allocates what the frame says, so both must
agree before it is called.
"""

import re
import struct
from dataclasses import dataclass

from napari_medseg.core.errors import MedSegError

_JPEG_START, _J2K_START, _PNG_START = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x89PNG"
_JP2_START = b"\x00\x00\x00\x0cjP"
# Markers SOF of JPEG (C4, C8 and CC are others) and of JPEG-LS, and those without a length.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN_MARKER, _END_MARKER = 0xDA, 0xD9
# What ends the compressed data of a scan: a marker, but no stuffed byte and no restart.
_AFTER_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
MAX_SCANS = 100
"""Of one JPEG. Encoders write 1 to 20; each one costs a pass over all pixels, however small it is in the file."""
MIN_SCAN_BYTES = 10
# Rows, columns and components from the length of a SOF segment on.
_JPEG_SIZE = struct.Struct(">HHB")
# Size, offset, size and offset of tiles, and components (Csiz) of a SIZ segment.
_J2K_SIZE = struct.Struct(">IIII16xH")
_PNG_SIZE = struct.Struct(">IIBB")
_PNG_SAMPLES = {2: 3, 3: 3, 4: 2, 6: 4}
_BOX = struct.Struct(">I4s")
_WEBP_SAMPLES = 3
"""At least: the fourth is alpha."""


@dataclass(frozen=True)
class DeclaredSize:
    """Size of a frame, and its values per pixel."""

    rows: int
    columns: int
    samples: int = 1

    @property
    def n_values(self) -> int:
        """Number of values once decoded."""
        return self.rows * self.columns * self.samples

    def __str__(self) -> str:
        """Return ``"512 x 512"``, or ``"512 x 512 x 3"`` with several values per pixel."""
        return f"{self.rows} x {self.columns}" + (f" x {self.samples}" if self.samples != 1 else "")


def is_known_codestream(frame: bytes) -> bool:
    """Whether a frame starts as one of the formats whose size is read here."""
    return frame.startswith((_JPEG_START, _PNG_START, _J2K_START, _JP2_START)) or _is_webp(frame)


def read_declared_size(frame: bytes) -> DeclaredSize | None:
    """Return what a compressed frame declares; `None` for another format or a damaged start.

    Parameters
    ----------
    frame
        The frame, or its start up to the end of its header.
    """
    try:
        if frame.startswith(_JPEG_START):
            return _read_jpeg_size(frame)
        if frame.startswith(_PNG_START):
            columns, rows, _, colour_type = _PNG_SIZE.unpack_from(frame, 16)
            return DeclaredSize(rows, columns, _PNG_SAMPLES.get(colour_type, 1))
        if _is_webp(frame):
            return _read_webp_size(frame)
        start = _find_codestream(frame) if frame.startswith(_JP2_START) else 0
        if frame.startswith(_J2K_START, start):
            x, y, x_offset, y_offset, components = _J2K_SIZE.unpack_from(frame, start + 8)
            return DeclaredSize(y - y_offset, x - x_offset, components)
    except (struct.error, IndexError):  # it ends too early: the decoder says so
        return None
    return None


def refuse_many_scans(frame: bytes, name: str) -> None:
    """Refuse a JPEG of more than `MAX_SCANS` scans; other formats, and damaged starts, pass.

    Raises
    ------
    MedSegError
        Names the number of scans.
    """
    n_scans = _count_scans(frame) if frame.startswith(_JPEG_START) else 0
    if n_scans > MAX_SCANS:
        raise MedSegError(
            f"{name} holds a JPEG of {n_scans:,} scans, each a pass over all its pixels; at most {MAX_SCANS} are read. "
            "It is damaged, or made to keep programs busy. Export it again."
        )


def _count_scans(frame: bytes) -> int:
    """Count the scans of the first picture in a JPEG; what its segments hold, such as a thumbnail, does not count."""
    n_scans, place = 0, 2
    while (place := frame.find(b"\xff", place)) >= 0 and place + 4 <= len(frame):
        marker = frame[place + 1]
        if marker == _END_MARKER:
            break
        if marker == 0xFF:  # padding
            place += 1
        elif marker == 0 or marker in _MARKERS_WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + max(2, struct.unpack_from(">H", frame, place + 2)[0])
        if marker == _SCAN_MARKER:
            n_scans += 1
            found = _AFTER_SCAN.search(frame, place)
            place = found.start() if found else len(frame)
    return n_scans


def _read_jpeg_size(frame: bytes) -> DeclaredSize | None:
    """Follow the segments of a JPEG to the one that starts its frame, over bytes between them, as decoders do."""
    place = 2
    while (place := frame.find(b"\xff", place)) >= 0 and place + 10 <= len(frame):
        marker = frame[place + 1]
        if marker in _FRAME_MARKERS:
            return DeclaredSize(*_JPEG_SIZE.unpack_from(frame, place + 5))
        if marker == 0xFF:  # padding
            place += 1
        elif marker == 0 or marker in _MARKERS_WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + max(2, struct.unpack_from(">H", frame, place + 2)[0])
    return None


def _find_codestream(frame: bytes) -> int:
    """Return where the code stream of a JP2 file starts: in its box, not where another box has the same bytes."""
    place = 0
    while True:
        length, kind = _BOX.unpack_from(frame, place)
        header = _BOX.size
        if length == 1:  # the length follows, in 64 bits
            length, header = struct.unpack_from(">Q", frame, place + header)[0], 16
        if kind == b"jp2c":
            return place + header
        if length < header:  # 0: the last box
            raise IndexError
        place += length


def _is_webp(frame: bytes) -> bool:
    return frame.startswith(b"RIFF") and frame[8:12] == b"WEBP"


def _read_webp_size(frame: bytes) -> DeclaredSize | None:
    """Read the first chunk of a WebP file: extended, lossless or lossy (RFC 9649)."""
    kind = frame[12:16]
    if kind == b"VP8X":
        columns, rows = (int.from_bytes(frame[place : place + 3], "little") + 1 for place in (24, 27))
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", frame, 21)[0]
        columns, rows = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        columns, rows = (length & 0x3FFF for length in struct.unpack_from("<HH", frame, 26))
    else:
        return None
    return DeclaredSize(rows, columns, _WEBP_SAMPLES)
