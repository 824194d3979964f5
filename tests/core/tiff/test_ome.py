"""An OME-TIFF whose XML names other files, or counts more planes than there are, is refused before both are read."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

OWN, OTHER = "urn:uuid:11111111-0512-4e87-a045-20d87db14001", "urn:uuid:ce3367ae-0512-4e87-a045-20d87db14001"
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def write(path: Path, planes: str, size_z: int, value: int = 0, more: str = "") -> Path:
    sizes = f'SizeC="1" SizeT="1" SizeX="16" SizeY="16" SizeZ="{size_z}"'
    pixels = f'<Pixels DimensionOrder="XYZCT" ID="Pixels:0" {sizes} Type="uint8">{planes}</Pixels>'
    xml = f'<?xml version="1.0"?><OME xmlns="{NAMESPACE}" UUID="{OWN}"><Image ID="Image:0">{pixels}</Image>{more}</OME>'
    tifffile.imwrite(path, np.full((16, 16), value, np.uint8), description=xml, metadata=None)
    return path


def name_other(name: str) -> str:
    return (
        f'<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">{OWN}</UUID></TiffData>'
        f'<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="{name}">{OTHER}</UUID></TiffData>'
    )


def test_a_file_of_the_same_image_beside_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "b.ome.tif", '<TiffData IFD="0" PlaneCount="1"/>', 1, value=7)
    image = formats.read(write(tmp_path / "a.ome.tif", name_other("b.ome.tif"), 2))
    assert [plane.max() for plane in image.pixels] == [0, 7]


@pytest.mark.parametrize("name", ["../b.ome.tif", "..&#47;b.ome.tif", "sub/b.ome.tif", "C:b.ome.tif", "..\\b.ome.tif"])
def test_a_file_elsewhere_is_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for folder in (tmp_path, tmp_path / "own"):
        write(folder / "b.ome.tif", '<TiffData IFD="0" PlaneCount="1"/>', 1)
    with pytest.raises(MedSegError, match=r"a\.ome\.tif names a file of its image in another folder"):
        formats.read(write(tmp_path / "own" / "a.ome.tif", name_other(name), 2))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_beside_it_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.ome.tif")
    with pytest.raises(MedSegError, match="which is not opened"):
        formats.read(write(tmp_path / "a.ome.tif", name_other("b.ome.tif"), 2))


MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="A" Namespace="openmicroscopy.org/omero/dimension/modulo"><Value>'
    '<Modulo><ModuloAlongZ Type="phase" Start="0" End="1" Step="1e-12"/></Modulo></Value>'
    "</XMLAnnotation></StructuredAnnotations>"
)


@pytest.mark.parametrize(
    ("planes", "size_z", "more"),
    [
        ('<TiffData IFD="0" PlaneCount="99999999"/>', 99_999_999, ""),
        ('<TiffData IFD="0" PlaneCount="99999999"/>', 1, ""),
        ("<TiffData/>", 99_999_999, ""),
        ("<TiffData/>", 1, MODULO),
    ],
    ids=["sizes and count", "count", "sizes", "modulo"],
)
def test_more_planes_than_a_file_can_hold_are_not_listed(planes: str, size_z: int, more: str, tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="its OME-XML counts"):
        formats.read(write(tmp_path / "a.ome.tif", planes, size_z, more=more))
