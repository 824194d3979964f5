"""Labels of a plane as other programs lay them: in the rows and columns of the image file."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.labels import get_png_tiff_storage
from napari_medseg.core.formats.orientation import reorient_to_file
from napari_medseg.core.image import Image


def lay_plane(path: Path, labels: NDArray[Any], image: Image) -> NDArray[Any]:
    """Return labels (rows, columns) in the order of the image file.

    Raises
    ------
    MedSegError
        If the image is a volume.
    """
    if len(image.spatial_axes) != 2:
        raise MedSegError(
            f"{path.name} holds one plane, but {image.name} is a volume. Choose .seg.nrrd, .mha or .nii.gz."
        )
    return reorient_to_file(labels, get_png_tiff_storage(image))
