"""Readers of the rooms beside this one, which use this one: they are loaded when the first file needs them."""

from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.mask_placement import AS_STATED, MaskPlacement, PlacedMask
from napari_medseg.core.image import Image


def read_volume(path: Path) -> Image:
    """Read a MetaImage file, see `core.volumes.metaimage`."""
    from napari_medseg.core.volumes.metaimage import read_metaimage

    return read_metaimage(path)


def read_nrrd_volume(path: Path) -> Image:
    """Read an NRRD file, see `core.volumes.nrrd`."""
    from napari_medseg.core.volumes.nrrd import read_nrrd

    return read_nrrd(path)


def read_volume_mask(
    path: Path, image: Image | None, placement: MaskPlacement = AS_STATED, expected_bytes: int | None = None
) -> PlacedMask:
    """Read a MetaImage or NRRD file as a mask, see `core.volumes.masks`."""
    from napari_medseg.core.volumes import masks

    return masks.read_volume_mask(path, image, placement, expected_bytes)


def read_volume_mask_image(path: Path) -> Image:
    """Read such a mask on its own grid, see `core.volumes.masks`."""
    from napari_medseg.core.volumes import masks

    return masks.read_volume_mask_image(path)


def read_dicom_mask(path: Path, image: Image | None) -> PlacedMask:
    """Read a DICOM segmentation or structure set on its series, see `core.dicom_labels.reader`."""
    from napari_medseg.core.dicom_labels import reader

    if not reader.find_label_class(path):
        raise MedSegError(
            f"{path.name} is DICOM, but neither a segmentation (SEG) nor a structure set (RTSTRUCT). Choose a mask."
        )
    if image is None:
        raise MedSegError(f"{path.name} belongs to a DICOM series. Open the series first.")
    return PlacedMask(*reader.read_dicom_labels(path, image))
