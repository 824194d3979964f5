"""Whether decoding can begin at a key frame without the frames before it, as the bytes of H.264 and H.265 say it.

In an open group, frames that are shown before its key frame need the group before. Where a file has no time stamps of
showing, as AVI, such frames would be counted wrongly, so only closed groups count as key frames there.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet

REORDERED = ("h264", "hevc")
"""Codecs whose frames AVI holds without the times at which they are shown."""
_START_CODE = b"\x00\x00\x01"
_H264_IDR = 5
_HEVC_IDR = (19, 20)
_MAX_UNITS = 200
_LENGTH_BYTES = 4


def begins_closed_group(packet: "Packet", codec: str, extradata: bytes | None) -> bool:
    """Whether a packet is an instantaneous decoder refresh (IDR): nothing after it needs a frame before it."""
    content = bytes(packet)
    has_lengths = (extradata or b"").startswith(b"\x01")
    for header in _list_unit_headers(content, has_lengths=has_lengths):
        kind = header & 0x1F if codec == "h264" else header >> 1 & 0x3F
        if kind == _H264_IDR if codec == "h264" else kind in _HEVC_IDR:
            return True
    return False


def _list_unit_headers(content: bytes, *, has_lengths: bool) -> Iterator[int]:
    """Yield the first byte of each unit (NAL) of a packet, whether start codes or lengths divide them."""
    at = 0 if has_lengths else content.find(_START_CODE)
    for _unit in range(_MAX_UNITS):
        begin = at + (_LENGTH_BYTES if has_lengths else len(_START_CODE))
        if at < 0 or begin >= len(content):
            return
        yield content[begin]
        length = int.from_bytes(content[at:begin], "big")
        at = begin + length if has_lengths else content.find(_START_CODE, begin)
