"""The header of a NIfTI file: its bytes, and the texts in it, which may name the patient."""

from io import BytesIO

import nibabel as nib

from napari_medseg.core.formats.discovery import NIFTI_SUFFIXES, get_suffix
from napari_medseg.core.image import Image

NIFTI1_BYTES, NIFTI2_BYTES = 348, 540
FILE_ORDER = b"napari-medseg: voxels in file order"
"""Remark in files of this program whose codes are 0: rows and columns lie as in the source."""
_REMARKS = ("descrip", "aux_file", "db_name", "intent_name", "data_type", "unused_str")


def clear_header_texts(content: bytes) -> bytes:
    """Return the bytes of a header, or none, without names and remarks: they may name the patient."""
    if not content:
        return content
    header = parse_header(content)
    clear_texts(header)
    return dump_header(header)


def came_from_nifti(image: Image) -> bool:
    """Whether an image was read from a NIfTI file, whose first axis is x, not the page."""
    if image.storage is None or image.storage.affine is None:
        return False
    return bool(image.storage.nifti_header) or (bool(image.sources) and get_suffix(image.sources[0]) in NIFTI_SUFFIXES)


def dump_header(header: nib.Nifti1Header) -> bytes:
    """Return the bytes of a header, without extensions."""
    buffer = BytesIO()
    header.write_to(buffer)
    return buffer.getvalue()[: int(header["sizeof_hdr"])]


def clear_texts(header: nib.Nifti1Header) -> None:
    """Empty names and remarks; the remark of this program stays."""
    for remark in set(_REMARKS) & set(header.keys()):  # NIfTI-2 has fewer
        header[remark] = FILE_ORDER if header[remark] == FILE_ORDER else b""


def parse_header(content: bytes) -> nib.Nifti1Header:
    """Return the header of these bytes, NIfTI-1 or NIfTI-2."""
    kind = nib.Nifti1Header if len(content) == NIFTI1_BYTES else nib.Nifti2Header
    return kind.from_fileobj(BytesIO(content))
