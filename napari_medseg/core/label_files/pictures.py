"""Labels as pictures: PNG with a palette, and OME-TIFF."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.grid_metadata import GRID_KEY, make_grid_json
from napari_medseg.core.formats.labels import get_png_tiff_storage
from napari_medseg.core.formats.orientation import reorient_to_file
from napari_medseg.core.formats.png_jpeg import get_exif_orientation
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.planar import lay_plane

MAX_PALETTE = 255
_EXIF_ORIENTATION = 0x0112
_NAMESPACE = uuid.UUID("8b1f9a0e-3d5c-5a8e-8f57-0c2b6d7e9f11")
_OME_TYPES = (np.uint8, np.uint16, np.uint32)


def write_palette_png(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    """Write a plane whose pixels are label values, shown in the colours of the task.

    Raises
    ------
    MedSegError
        If the image is a volume, a value is above 255, or the folder cannot be written to.
    """
    lying = lay_plane(path, labels, image)
    largest = int(lying.max(initial=0))
    if largest > MAX_PALETTE:
        raise MedSegError(
            f"{path.name}: a palette has {MAX_PALETTE} colours, but {image.name} has the value {largest:,}. "
            "Choose .png, .tif or .geojson."
        )
    picture = Picture.fromarray(np.ascontiguousarray(lying.astype(np.uint8)), mode="L")
    colours = {segment.value: segment.rgb for segment in described.list_segments(labels)}
    picture.putpalette([channel for value in range(largest + 1) for channel in colours.get(value, (0, 0, 0))])
    information = PngInfo()
    information.add_text(GRID_KEY, make_grid_json(image, get_png_tiff_storage(image)))
    information.add_itxt("Description", described.provenance)
    options: dict[str, Any] = {"format": "PNG", "pnginfo": information}
    if (orientation := get_exif_orientation(image)) != 1:
        options["exif"] = Picture.Exif()
        options["exif"][_EXIF_ORIENTATION] = orientation
    with atomic_write(path) as temporary:
        picture.save(temporary, **options)


def write_ome_tiff(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    """Write labels of 8, 16 or 32 bits as OME-TIFF with the voxel size in micrometres, also for readers of plain tags.

    Raises
    ------
    MedSegError
        If the folder cannot be written to.
    """
    storage = get_png_tiff_storage(image)
    lying = reorient_to_file(labels, storage)
    dtype = next(kind for kind in _OME_TYPES if int(lying.max(initial=0)) <= np.iinfo(kind).max)
    axes = "YX" if lying.ndim == 2 else "ZYX"
    metadata: dict[str, Any] = {"axes": axes, "Name": "labels", "Description": described.provenance}
    metadata["MapAnnotation"] = {"Namespace": GRID_KEY, GRID_KEY: make_grid_json(image, storage)}
    metadata["UUID"] = str(uuid.uuid5(_NAMESPACE, image.content_hash))
    options: dict[str, Any] = {}
    if image.spacing_mm is not None:
        spacing = [image.spacing_mm[n] for n in np.argsort(storage.permutation)]
        for axis, step in zip(axes, spacing, strict=True):
            metadata |= {f"PhysicalSize{axis}": step * 1000, f"PhysicalSize{axis}Unit": "µm"}
        options = {"resolution": (10 / spacing[-1], 10 / spacing[-2]), "resolutionunit": "CENTIMETER"}
    with atomic_write(path) as temporary:
        tifffile.imwrite(
            temporary,
            lying.astype(dtype),
            ome=True,
            metadata=metadata,
            compression="zlib",
            photometric="minisblack",
            **options,
        )
