"""How many elements a DICOM file holds, counted before pydicom makes an object of each of them.

An item of a sequence has 8 bytes in the file, but takes pydicom 50 us and 1.5 KB: a header of 2 MB can take half a
minute. Here elements are counted only; their values are skipped.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.datadict import dictionary_VR
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from napari_medseg.core.decoded_size.limit import format_bytes
from napari_medseg.core.errors import MedSegError

MAX_ELEMENTS = 100_000
"""In a file of any size, items included. A slice has 100 to 2,000; a frame of an enhanced file has 20 to 80."""
BYTES_PER_ELEMENT = 512
"""A larger file may hold one more element per so many bytes: pixels take most of it, also if its frames are small."""
MAX_VALUE_BYTES = 2**16
"""Of a text or number. Explicit VR has no room for more; implicit VR has, and a million numbers take seconds."""
MODALITY_TAG, PIXELS_TAG = 0x00080060, 0x7FE00008
_ELEMENT_BYTES = 8
"""An element takes at least as many."""
_MAGIC_OFFSET, _MAGIC = 128, b"DICM"
_UNDEFINED = 0xFFFFFFFF
_DELIMITERS, _ITEM = 0xFFFE, 0xE000
_COMMAND, _META, _SYNTAX_TAG = 0x0000, 0x0002, 0x00020010
_BIG_ENDIAN_GROUP = 0x0400
# Groups of imaging. Those of radiotherapy have long lists of numbers, which nobody reads here.
_LAST_IMAGING_GROUP, _FUNCTIONAL_GROUPS = 0x0100, 0x5200
_KNOWN = frozenset(vr.value.encode() for vr in VR if len(vr) == 2)
_OF_32_BITS = frozenset(vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32)
_SHORT = {vr.decode() for vr in _KNOWN - _OF_32_BITS}


@dataclass(slots=True)
class _Level:
    """A data set, a sequence or an item that is open: where it ends, and how its elements are written."""

    end: int
    is_implicit: bool | None = None
    is_opaque: bool = False
    """Whether its items are parts of pixels, without elements."""


def has_magic_word(file: BinaryIO) -> bool:
    """Whether an open file has the DICOM magic word; afterwards the file position is 0."""
    start = file.read(_MAGIC_OFFSET + len(_MAGIC))
    file.seek(0)
    return start[_MAGIC_OFFSET:] == _MAGIC


def may_be_long(n_bytes: int) -> bool:
    """Whether so many bytes have room for more than `MAX_ELEMENTS`: most slices have not, and are not counted."""
    return n_bytes > MAX_ELEMENTS * _ELEMENT_BYTES


def refuse_long_header(file: BinaryIO, n_bytes: int, name: str, before: int = PIXELS_TAG) -> None:
    """Refuse a file whose header holds too many elements; afterwards the file position is 0 again.

    What is deflated is not looked at; what is damaged ends the count, and is left to the parser.

    Parameters
    ----------
    file, n_bytes, name
        The file, open at position 0, its size and its name.
    before
        Tag at which the count ends.

    Raises
    ------
    MedSegError
        Says how many are allowed.
    """
    if may_be_long(n_bytes):
        file.seek(_MAGIC_OFFSET + len(_MAGIC) if has_magic_word(file) else 0)
        _count(_Walk(file, n_bytes, name), before)
        file.seek(0)


def refuse_many_elements(file: BinaryIO, n_bytes: int, name: str, syntax: str) -> None:
    """Refuse what holds too many elements from the position of a file to its end, as `refuse_long_header` does.

    `syntax` is the UID of its transfer syntax.
    """
    if may_be_long(n_bytes):
        place = file.tell()
        _count(_Walk(file, n_bytes, name, syntax), before=None)
        file.seek(place)


def _count(walk: "_Walk", before: int | None) -> None:
    allowed = MAX_ELEMENTS + walk.n_bytes // BYTES_PER_ELEMENT
    for number, tag in enumerate(walk.iterate()):
        if before is not None and tag >= before:
            break
        if number >= allowed:
            raise MedSegError(
                f"{walk.name} holds more than {allowed:,} DICOM elements; a file of {format_bytes(walk.n_bytes)} has "
                "no use for so many. It is damaged, or made to keep programs busy. Export it again."
            )


class _Walk:
    """Goes through the elements of a file, into its sequences."""

    def __init__(self, file: BinaryIO, n_bytes: int, name: str, syntax: str = "") -> None:
        self.n_bytes, self.name = n_bytes, name
        self._file = file
        self._order = "<"
        self._syntax = syntax
        self._is_before_data = False

    def iterate(self) -> Iterator[int]:
        """Yield the tag of the outermost element for each element and item; 0 in file meta."""
        levels = [_Level(self.n_bytes)]
        outermost = 0
        while levels:
            place = self._file.tell()
            if place >= levels[-1].end:
                levels.pop()
                continue
            head = self._file.read(_ELEMENT_BYTES)
            if len(head) < _ELEMENT_BYTES or (len(levels) == 1 and not self._enter(head, levels[0])):
                return
            group, number, length = struct.unpack(f"{self._order}HHL", head)
            if group == _DELIMITERS and number != _ITEM:
                levels.pop()
                continue
            if group == _DELIMITERS:
                self._open_item(levels, place, length)
            else:
                tag = group << 16 | number
                outermost = tag if len(levels) == 1 and group != _META else outermost
                self._read_element(levels, tag, head)
            yield outermost

    def _enter(self, head: bytes, level: _Level) -> bool:
        """Find out how the elements behind the file meta are written; return whether they can be read."""
        group = int.from_bytes(head[:2], "little")
        if group in (_COMMAND, _META):
            self._is_before_data, level.is_implicit = True, None
        elif self._is_before_data or level.is_implicit is None:
            self._is_before_data, level.is_implicit = False, None
            is_big = not self._syntax and group >= _BIG_ENDIAN_GROUP and head[4:6] in _KNOWN
            self._order = ">" if is_big or self._syntax == ExplicitVRBigEndian else "<"
            return self._syntax != DeflatedExplicitVRLittleEndian
        return True

    def _open_item(self, levels: list[_Level], place: int, length: int) -> None:
        if levels[-1].is_opaque:
            self._skip(length)
        else:
            end = levels[-1].end if length == _UNDEFINED else place + _ELEMENT_BYTES + length
            levels.append(_Level(end))

    def _read_element(self, levels: list[_Level], tag: int, head: bytes) -> None:
        level = levels[-1]
        if level.is_implicit is None:
            level.is_implicit = head[4:6] not in _KNOWN
        vr, length = self._read_length(level, head)
        known = _look_up(tag) if vr in ("", "UN") or length > MAX_VALUE_BYTES else vr
        if length == _UNDEFINED:
            levels.append(_Level(level.end, is_opaque=(known or vr) not in ("", "UN", "SQ")))
        elif "SQ" in (vr, known):
            levels.append(_Level(self._file.tell() + length))
        else:
            self._refuse_long_value(tag, known, length)
            self._read_value(tag, length)

    def _read_length(self, level: _Level, head: bytes) -> tuple[str, int]:
        """Return the VR, empty if the file does not say it, and the length of the value."""
        vr = head[4:6]
        if level.is_implicit or not (vr.isalpha() and vr.isupper()):
            return "", int(struct.unpack(f"{self._order}L", head[4:])[0])
        if vr in _OF_32_BITS:
            rest = self._file.read(4)
            return vr.decode(), int(struct.unpack(f"{self._order}L", rest)[0]) if len(rest) == 4 else 0
        return vr.decode(), int(struct.unpack(f"{self._order}H", head[6:])[0])

    def _refuse_long_value(self, tag: int, vr: str, length: int) -> None:
        is_of_imaging = tag >> 16 < _LAST_IMAGING_GROUP or tag >> 16 == _FUNCTIONAL_GROUPS
        if length > MAX_VALUE_BYTES and vr in _SHORT and is_of_imaging:
            raise MedSegError(
                f"{self.name} has {format_bytes(length)} in the attribute ({tag >> 16:04X},{tag & 0xFFFF:04X}); at "
                f"most {format_bytes(MAX_VALUE_BYTES)} are expected. It is damaged; copy or export it again."
            )

    def _read_value(self, tag: int, length: int) -> None:
        if tag == _SYNTAX_TAG and length < MAX_VALUE_BYTES:
            self._syntax = self._file.read(length).rstrip(b"\0 ").decode("ascii", "replace")
        else:
            self._skip(length)

    def _skip(self, length: int) -> None:
        self._file.seek(min(self._file.tell() + length, self.n_bytes))


def _look_up(tag: int) -> str:
    """Return the VR of a tag by the standard, such as ``"DS"`` or ``"US or SS"``; empty if it is private."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""
