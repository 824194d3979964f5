"""What the pixels of a DICOM file will take in memory, by its header, and that its frames hold no more than it says."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import imagecodecs
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import _read_command_set_elements, _read_file_meta_info, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from napari_medseg.core.decoded_size.bounded_stream import refuse_large_deflated
from napari_medseg.core.decoded_size.codestreams import DeclaredSize, read_declared_size, refuse_many_scans
from napari_medseg.core.decoded_size.header_length import may_be_long, refuse_many_elements
from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.errors import MedSegError

_PALETTE_SAMPLES = 3
_RLE_HEADER_BYTES, _RLE_PADDING_BYTES = 64, 1024
_PLANE_BYTES = 1024
"""What the geometry of one plane takes, however small it is."""
MAX_FRAMES = 20_000
"""Of one file. Each takes 0.2 ms, however small it is; a volume has some thousands."""


def count_frames(dataset: Dataset) -> int:
    """Return the number of frames by the header; 1 if it does not say."""
    return int(dataset.get("NumberOfFrames") or 1)


def compute_pixel_bytes(dataset: Dataset) -> int:
    """Return the bytes that all frames take once decoded, by the header."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        samples = _PALETTE_SAMPLES
    item_bytes = (int(dataset.get("BitsAllocated") or 8) + 7) // 8
    frame_bytes = int(dataset.Rows) * int(dataset.Columns) * samples * item_bytes
    return count_frames(dataset) * max(_PLANE_BYTES, frame_bytes)


def refuse_large_frames(path: Path, dataset: Dataset, remaining_bytes: int | None) -> None:
    """Refuse a file by its header, before its planes are listed.

    Parameters
    ----------
    path, dataset
        The file and its header.
    remaining_bytes
        Bytes of the file after its header; `None` if they are not known.

    Raises
    ------
    MedSegError
        If its frames would take too much memory, are too many, or are more than bytes.
    """
    n_frames = count_frames(dataset)
    if n_frames < 1:
        raise MedSegError(
            f"{path.name} declares {n_frames:,} frames; one or more are expected. It is damaged; export it again."
        )
    refuse_above_limit(compute_pixel_bytes(dataset), path.stat().st_size, path.name)
    if n_frames > MAX_FRAMES:
        raise MedSegError(
            f"{path.name} holds {n_frames:,} frames; at most {MAX_FRAMES:,} are read. Export a part of them."
        )
    if n_frames > 1 and remaining_bytes is not None and n_frames > remaining_bytes:
        raise MedSegError(
            f"{path.name} declares {n_frames:,} frames, but has only {remaining_bytes:,} bytes of pixel data. "
            "It is truncated or damaged; copy or export it again."
        )


def refuse_large_inflation(path: Path, file: BinaryIO) -> None:
    """Refuse a deflated file that inflates to too much or too many; afterwards the file position is 0 again.

    In the deflated transfer syntax the header is deflated, too, so only inflating tells the size.
    """
    read_preamble(file, force=True)
    # As `dcmread`, to where it inflates; pydicom's public function wants a path, and would open the file once more.
    file_meta = _read_file_meta_info(file)
    _read_command_set_elements(file)
    if file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        start = file.tell()
        n_bytes = refuse_large_deflated(file, path.stat().st_size, path.name)
        file.seek(start)
        if may_be_long(n_bytes):
            content = BytesIO(zlib.decompress(file.read(), -zlib.MAX_WBITS))
            refuse_many_elements(content, n_bytes, path.name, ExplicitVRLittleEndian)
    file.seek(0)


def refuse_larger_codestreams(dataset: Dataset, name: str) -> None:
    """Refuse compressed frames that are larger than the header says: a decoder would allocate what they are.

    Raises
    ------
    MedSegError
        Names both sizes; also if a JPEG has too many scans.
    """
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated or "PixelData" not in dataset:
        return
    allowed = DeclaredSize(int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel") or 1))
    for frame in _generate_frames(dataset):
        if dataset.file_meta.TransferSyntaxUID == RLELossless:
            _refuse_larger_rle(frame, allowed, name)
            continue
        refuse_many_scans(frame, name)
        declared = read_declared_size(frame)
        if declared is not None and declared.n_values > allowed.n_values:
            raise MedSegError(
                f"{name} holds a compressed frame of {declared} pixels, but its header says {allowed}. It is damaged; "
                "copy or export it again."
            )


def _generate_frames(dataset: Dataset) -> Iterator[bytes]:
    """Yield the frames as decoders get them, each joined from its fragments; they use either table of offsets."""
    n_frames = count_frames(dataset)
    yield from generate_frames(dataset.PixelData, number_of_frames=n_frames)
    offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    if offsets and lengths:
        yield from generate_frames(dataset.PixelData, number_of_frames=n_frames, extended_offsets=(offsets, lengths))


def _refuse_larger_rle(frame: bytes, allowed: DeclaredSize, name: str) -> None:
    """Refuse a frame of which a segment (one byte of each value) is longer than the frame has pixels.

    A segment does not say how long it is: it is decoded into memory of the size that it may have.
    """
    n_segments, *offsets = struct.unpack_from("<16L", frame) if len(frame) >= _RLE_HEADER_BYTES else (0,)
    ends = [*offsets[1:n_segments], len(frame)]
    room = bytearray(allowed.rows * allowed.columns + _RLE_PADDING_BYTES)
    for start, end in zip(offsets[:n_segments], ends, strict=False):
        try:
            imagecodecs.packbits_decode(frame[start:end], out=room)
        except imagecodecs.PackbitsError as error:
            if "OUTPUT_TOO_SMALL" in str(error):  # other faults are told by the decoder
                raise MedSegError(
                    f"{name} holds a frame in RLE that is larger than the {allowed} pixels in its header. "
                    "It is damaged; copy or export it again."
                ) from error
