"""Rows and columns that a compressed frame declares itself: JPEG, JPEG-LS, JPEG 2000 and PNG.

DICOM and TIFF keep such frames, and state the size once more. A decoder allocates what the frame says, so both must
agree before it is called.
"""

import struct

_JPEG_START, _J2K_START, _PNG_START = b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x89PNG"
_JP2_START = b"\x00\x00\x00\x0cjP"
# Markers SOF of JPEG (C4, C8 and CC are others) and of JPEG-LS, and those without a length.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_J2K_SIZE = struct.Struct(">IIII")


def read_declared_size(frame: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) that a compressed frame declares; `None` for another format or a damaged start.

    Parameters
    ----------
    frame
        The frame, or its start up to the end of its header.
    """
    try:
        if frame.startswith(_JPEG_START):
            return _read_jpeg_size(frame)
        if frame.startswith(_PNG_START):
            columns, rows = struct.unpack_from(">II", frame, 16)
            return rows, columns
        if frame.startswith((_J2K_START, _JP2_START)) and (start := frame.find(_J2K_START)) >= 0:
            x, y, x_offset, y_offset = _J2K_SIZE.unpack_from(frame, start + 8)
            return y - y_offset, x - x_offset
    except (struct.error, IndexError):  # it ends too early: the decoder says so
        return None
    return None


def _read_jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Follow the segments of a JPEG to the one that starts its frame."""
    place = 2
    while place + 9 <= len(frame):
        if frame[place] != 0xFF:
            return None
        marker = frame[place + 1]
        if marker in _FRAME_MARKERS:
            rows, columns = struct.unpack_from(">HH", frame, place + 5)
            return rows, columns
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _MARKERS_WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return None
