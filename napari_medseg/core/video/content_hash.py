"""The hash of the content of a video, by which it is known wherever it lies and whatever it is called.

It is made of the packets of the pictures: how large each one is, and up to four pieces of its bytes. So it is as quick
as reading the file once, does not depend on a decoder, and two videos that were encoded apart never share it, also if
they are as long and as large as each other.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet

N_PIECES = 4
PIECE_BYTES = 256
SHORT_DIGITS = 12
"""Of the hash in the path of a frame."""


class ContentHash:
    """Takes the packets of a video one after another."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=20)

    def add(self, packet: "Packet") -> None:
        """Take the next packet."""
        content = memoryview(packet)
        n_bytes = len(content)
        self._digest.update(n_bytes.to_bytes(8, "little"))
        if n_bytes <= N_PIECES * PIECE_BYTES:
            self._digest.update(content)
            return
        for piece in range(N_PIECES):
            begin = (n_bytes - PIECE_BYTES) * piece // (N_PIECES - 1)
            self._digest.update(content[begin : begin + PIECE_BYTES])

    @property
    def text(self) -> str:
        """40 hexadecimal digits."""
        return self._digest.hexdigest()
