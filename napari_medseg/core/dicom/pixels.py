"""Decode the pixels of a DICOM file to their physical unit: HU for CT, RGB for colour, dense is bright in X-rays."""

from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.filereader import data_element_generator
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, convert_color_space
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless

from napari_medseg.core.dicom.headers import (
    DicomHeader,
    get_dicom_number,
    get_dicom_text,
    get_file_version,
    get_functional_group,
    has_magic_word,
)
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import cast_compact

# Transfer syntaxes that pydicom's free plugins cannot decode, but imagecodecs can.
_JPEG_LS_SYNTAXES = (JPEGLSLossless, JPEGLSNearLossless)
_IMAGECODECS_SYNTAXES = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit, *_JPEG_LS_SYNTAXES)


def read_planes(header: DicomHeader, file: BinaryIO) -> list[NDArray[Any]]:
    """Read the pixels of an open DICOM file from where its header ended.

    Returns
    -------
    list of NDArray
        One array for each of `header.planes`: (rows, columns) in HU or the stored unit, or (rows, columns, 3) RGB.

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
    pixels = decode_pixels(dataset, header.path.name)
    frames = pixels if len(header.planes) > 1 else [pixels]
    return [_apply_modality_transform(frames[plane.frame], dataset, plane.frame) for plane in header.planes]


def _read_pixel_data(header: DicomHeader, file: BinaryIO) -> Dataset:
    encoding = header.encoding
    if encoding.offset is None:
        file.seek(0)
        return dcmread(file, force=not has_magic_word(file))
    file.seek(encoding.offset)
    is_implicit_vr, is_little_endian = encoding.attributes.original_encoding
    rest = data_element_generator(file, bool(is_implicit_vr), bool(is_little_endian))
    dataset = Dataset(dict(encoding.attributes.items()) | {element.tag: element for element in rest})
    dataset.file_meta = encoding.attributes.file_meta
    dataset.set_original_encoding(is_implicit_vr, is_little_endian)
    return dataset


def _apply_modality_transform(stored: NDArray[Any], dataset: Dataset, frame: int) -> NDArray[Any]:
    if stored.ndim == 3:
        return stored
    return apply_rescale(invert_monochrome1(stored, dataset), dataset, frame)


def decode_pixels(dataset: Dataset, name: str) -> NDArray[Any]:
    """Decode the stored pixels: (rows, columns), with a first axis for several frames and a last axis for RGB.

    Raises
    ------
    MedSegError
        If the transfer syntax is not supported, or the pixel data are missing or too short.
    """
    if "PixelData" not in dataset and "FloatPixelData" not in dataset and "DoubleFloatPixelData" not in dataset:
        raise MedSegError(f"{name} is truncated: it ends before its pixel data. Copy it again.")
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
        return apply_color_lut(pixels, dataset)
    return pixels


def apply_rescale(stored: NDArray[Any], dataset: Dataset, frame: int) -> NDArray[Any]:
    """Apply the modality transform (HU for CT) to the stored values of one plane: int16 if exact, else float32."""
    if dataset.get("ModalityLUTSequence"):
        return cast_compact(apply_modality_lut(stored, dataset))
    group = get_functional_group(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = get_dicom_number(group, "RescaleSlope"), get_dicom_number(group, "RescaleIntercept")
    if slope is None or intercept is None:
        return stored
    if slope.is_integer() and intercept.is_integer():
        return cast_compact(stored.astype(np.int64) * int(slope) + int(intercept))
    return (stored * slope + intercept).astype(np.float32)


def has_rescale(dataset: Dataset) -> bool:
    """Whether the file has a rescale to HU."""
    group = get_functional_group(dataset, 0, "PixelValueTransformationSequence")
    return "RescaleSlope" in group and get_dicom_text(group, "RescaleType") in ("", "HU")


def invert_monochrome1(pixels: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Invert MONOCHROME1 within the stored value range, so that bone is bright in every X-ray."""
    if dataset.PhotometricInterpretation != "MONOCHROME1" or pixels.dtype.kind not in "ui":
        return pixels
    bits = int(dataset.BitsStored)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dataset.PixelRepresentation else (0, (1 << bits) - 1)
    return (low + high - pixels.astype(np.int64)).astype(pixels.dtype)


def _decode_with_imagecodecs(dataset: Dataset, syntax: UID) -> NDArray[Any]:
    decode = imagecodecs.jpegls_decode if syntax in _JPEG_LS_SYNTAXES else imagecodecs.jpeg_decode
    n_frames = int(dataset.get("NumberOfFrames") or 1)
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
