"""Decode the pixels of a DICOM file, in their physical unit, and where they are padding."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.filereader import data_element_generator
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from napari_medseg.core.decoded_size.header_length import has_magic_word, refuse_many_elements
from napari_medseg.core.dicom.frame_size import count_frames, refuse_larger_codestreams
from napari_medseg.core.dicom.headers import DicomHeader, get_file_version
from napari_medseg.core.dicom.modality_transform import apply_modality_transform
from napari_medseg.core.dicom.padding import find_padding
from napari_medseg.core.errors import MedSegError

# Transfer syntaxes that pydicom's free plugins cannot decode, but imagecodecs can.
_JPEG_LS_SYNTAXES = (JPEGLSLossless, JPEGLSNearLossless)
_IMAGECODECS_SYNTAXES = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit, *_JPEG_LS_SYNTAXES)
_PIXEL_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True, eq=False)
class DecodedPlane:
    """One plane.

    Parameters
    ----------
    pixels
        (rows, columns) in HU or the stored unit, or (rows, columns, 3) RGB.
    padding
        Where nothing was measured, bool (rows, columns); `pixels` has an arbitrary measured value there. `None` if all
        pixels were measured.
    """

    pixels: NDArray[Any]
    padding: NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class DecodedFile:
    """The stored pixels of a file; its planes are computed one by one, so that they are not all in memory twice.

    Parameters
    ----------
    header
        Its header.
    stored
        Stored values, (frames, rows, columns) or (frames, rows, columns, 3).
    padding
        Where nothing was measured, bool (frames, rows, columns); `None` if all pixels were measured.
    dataset
        Attributes of the pixels.
    """

    header: DicomHeader
    stored: NDArray[Any]
    padding: NDArray[np.bool_] | None
    dataset: Dataset

    def compute_plane(self, frame: int) -> DecodedPlane:
        """Return one frame in its physical unit; raise `MedSegError` if its rescale is invalid."""
        stored, padding = self.stored[frame], None if self.padding is None else self.padding[frame]
        if padding is not None and padding.any():
            # Padding must not decide the type of the values: 63536 as HU needs 32 bits.
            measured = stored[~padding]
            stored = np.where(padding, measured[0] if measured.size else stored.dtype.type(0), stored)
        else:
            padding = None
        return DecodedPlane(apply_modality_transform(stored, self.dataset, self.header, frame), padding)


def decode_file(header: DicomHeader, file: BinaryIO) -> DecodedFile:
    """Read the pixels of an open DICOM file from where its header ended.

    Raises
    ------
    MedSegError
        As `decode_pixels`, or if the file changed after its header was read.
    Exception
        Whatever decoders raise for damaged files: call this function inside `translate_decode_errors`.
    """
    if get_file_version(file) != header.encoding.file_version:
        raise MedSegError(f"{header.path.name} changed while it was read. Open it again when it is complete.")
    dataset = _read_pixel_data(header, file)
    stored = decode_pixels(dataset, header.path.name)
    is_grey = str(dataset.PhotometricInterpretation).startswith("MONOCHROME")
    padding = find_padding(stored, dataset) if is_grey else None
    for keyword in _PIXEL_DATA:  # decoded: the bytes are not needed any more
        if keyword in dataset:
            delattr(dataset, keyword)
    if count_frames(dataset) == 1:
        stored, padding = stored[np.newaxis], None if padding is None else padding[np.newaxis]
    return DecodedFile(header, stored, padding, dataset)


def _read_pixel_data(header: DicomHeader, file: BinaryIO) -> Dataset:
    encoding = header.encoding
    if encoding.offset is None:
        file.seek(0)
        return dcmread(file, force=not has_magic_word(file))
    file.seek(encoding.offset)
    is_implicit_vr, is_little_endian = encoding.attributes.original_encoding
    syntax = ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian
    refuse_many_elements(file, encoding.file_version[0], header.path.name, syntax)
    rest = data_element_generator(file, bool(is_implicit_vr), bool(is_little_endian))
    dataset = Dataset(dict(encoding.attributes.items()) | {element.tag: element for element in rest})
    dataset.file_meta = encoding.attributes.file_meta
    dataset.set_original_encoding(is_implicit_vr, is_little_endian)
    return dataset


def decode_pixels(dataset: Dataset, name: str) -> NDArray[Any]:
    """Decode the stored pixels: (rows, columns), with a first axis for several frames and a last axis for RGB.

    Raises
    ------
    MedSegError
        If the transfer syntax is not supported, or the pixel data are missing, too short or too large.
    """
    if not any(keyword in dataset for keyword in _PIXEL_DATA):
        raise MedSegError(f"{name} is truncated: it ends before its pixel data. Copy it again.")
    refuse_larger_codestreams(dataset, name)
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    try:
        pixels: NDArray[Any] = (
            _decode_with_imagecodecs(dataset, syntax) if syntax in _IMAGECODECS_SYNTAXES else dataset.pixel_array
        )
    except (NotImplementedError, RuntimeError, ImportError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MedSegError(
            f"{name} is stored as {syntax.name or 'an unknown transfer syntax'}, which cannot be decoded: {reason}. "
            "Export it uncompressed, or convert it with `gdcmconv --raw`."
        ) from error
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        _refuse_short_palette(dataset, name)
        return apply_color_lut(pixels, dataset)
    return pixels


def _refuse_short_palette(dataset: Dataset, name: str) -> None:
    """Refuse a palette with fewer bytes than its descriptor has colours; other faults are told by pydicom."""
    for colour in ("Red", "Green", "Blue"):
        start = f"{colour}PaletteColorLookupTable"
        descriptor, values = dataset.get(f"{start}Descriptor"), dataset.get(f"{start}Data")
        if not descriptor or values is None:
            continue
        n_colours = int(descriptor[0]) or 2**16
        if len(values) < n_colours:
            raise MedSegError(
                f"{name} has a palette of {n_colours:,} colours, but only {len(values):,} bytes of {colour.lower()}. "
                "It is damaged; copy or export it again."
            )


def _decode_with_imagecodecs(dataset: Dataset, syntax: UID) -> NDArray[Any]:
    decode = imagecodecs.jpegls_decode if syntax in _JPEG_LS_SYNTAXES else imagecodecs.jpeg_decode
    n_frames = count_frames(dataset)
    frames = [decode(data) for data in generate_frames(dataset.PixelData, number_of_frames=n_frames)]
    expected = (int(dataset.Rows), int(dataset.Columns))
    if len(frames) != n_frames or any(frame.shape[:2] != expected for frame in frames):
        raise MedSegError(
            f"the pixel data hold frames of {[f.shape for f in frames][:3]}, not {n_frames} frames of {expected}. "
            "Export the file again."
        )
    stack = np.stack(frames) if n_frames > 1 else frames[0]
    if dataset.PixelRepresentation and stack.dtype.kind == "u":
        shift = stack.dtype.itemsize * 8 - int(dataset.BitsStored)
        stack = (stack << shift).view(f"i{stack.dtype.itemsize}") >> shift
    if (
        syntax in _JPEG_LS_SYNTAXES and dataset.PhotometricInterpretation == "YBR_FULL"
    ):  # the JPEG decoder converts by itself
        return convert_color_space(stack, "YBR_FULL", "RGB")
    return stack
