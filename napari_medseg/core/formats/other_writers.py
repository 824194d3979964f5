"""Writers of the rooms beside this one, which use this one: they are loaded when the first file needs them."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.formats.discovery import METAIMAGE_SUFFIXES, get_suffix
from napari_medseg.core.image import Image


def write_volume(path: Path, pixels: NDArray[Any], image: Image) -> None:
    """Write a MetaImage or NRRD file, see `core.volumes`."""
    from napari_medseg.core.volumes.metaimage import write_metaimage
    from napari_medseg.core.volumes.nrrd import write_nrrd

    write = write_metaimage if get_suffix(path) in METAIMAGE_SUFFIXES else write_nrrd
    write(path, pixels, image)
