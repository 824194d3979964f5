"""MetaImage and NRRD as images: written by SimpleITK in every way it knows, or by hand; and damaged."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from napari_medseg.core import formats
from napari_medseg.core.decoded_size.limit import allow_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.volumes.segments import read_segment_values

DIRECTIONS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": np.linalg.qr(np.array([[0.96, 0.1, 0.2], [0.0, 0.9, -0.3], [0.28, 0.2, 0.9]]))[0],
}


def make(direction: str = "axial", dtype: type = np.int16) -> sitk.Image:
    values = np.random.default_rng(2).integers(0, 100, (4, 5, 6)).astype(dtype)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-31.5, 12.25, 100))
    image.SetDirection(DIRECTIONS[direction].ravel())
    return image


def assert_equal_places(path: Path, seen: sitk.Image) -> None:
    """Each voxel that we read lies where ITK finds the same value."""
    image = formats.read(path)
    values = sitk.GetArrayFromImage(seen)
    assert sorted(image.pixels.ravel().tolist()) == sorted(values.ravel().tolist())
    for index in np.ndindex(*[min(n, 3) for n in image.spatial_shape]):
        ras = image.affine @ [*index, 1.0]
        x, y, z = seen.TransformPhysicalPointToIndex((ras[:3] * [-1, -1, 1]).tolist())
        assert values[z, y, x] == image.pixels[index]
    np.testing.assert_allclose(sorted(image.spacing_mm), sorted(seen.GetSpacing()), rtol=1e-9)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_voxel_lies_where_itk_has_it(tmp_path: Path, direction: str, suffix: str, packed: bool) -> None:
    image = make(direction)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"), packed)
    assert_equal_places(tmp_path / f"a{suffix}", image)
    assert [source.name for source in formats.find_images(tmp_path) if formats.get_suffix(source.paths[0]) == suffix]


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64])
def test_every_type_of_numbers(tmp_path: Path, dtype: type, suffix: str) -> None:
    image = make(dtype=dtype)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    assert_equal_places(tmp_path / f"a{suffix}", image)


def test_big_endian_values_bzip2_and_ras(tmp_path: Path) -> None:
    import bz2

    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    head = "NRRD0005\n# by hand\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 4 3 2\n"
    head += "space directions: (-0.5,0,0) (0,-0.5,0) (0,0,2)\nkinds: domain domain domain\nendian: big\n"
    head += "encoding: bzip2\nspace origin: (1,2,3)\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + bz2.compress(values.astype(">i2").tobytes()))
    image = formats.read(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(image.pixels, values)
    np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], [1, 2, 3, 1])
    assert image.spacing_mm == (2.0, 0.5, 0.5)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_colours_and_planes(tmp_path: Path, suffix: str) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (3, 5, 6, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / f"c{suffix}"))
    assert formats.read(tmp_path / f"c{suffix}").axes == "ZYXC"
    plane = sitk.GetImageFromArray(colours[0, ..., 0])
    plane.SetSpacing((0.25, 0.5))
    sitk.WriteImage(plane, str(tmp_path / f"p{suffix}"))
    image = formats.read(tmp_path / f"p{suffix}")
    np.testing.assert_array_equal(image.pixels, colours[0, ..., 0])
    assert image.axes == "YX"
    assert image.spacing_mm == (0.5, 0.25)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, packed: bool) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(make(), str(path), packed)
    content = path.read_bytes()
    for size in (0, 1, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(MedSegError):
            formats.read(path)
    path.write_bytes(content.replace(b"6 5 4", b"6 5 0"))
    with pytest.raises(MedSegError):
        formats.read(path)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize(
    ("text", "damaged"), [(b'"flips"', b'"flops"'), (b"null, ", b"null; "), (b": [0, 1, 2]", b": [0, 1, 1]")]
)
def test_a_damaged_grid_of_our_own_is_refused(tmp_path: Path, suffix: str, text: bytes, damaged: bytes) -> None:
    image = Image(np.zeros((2, 3, 4), np.uint8), "ZYX")
    path = tmp_path / f"a{suffix}"
    formats.write_image(path, image)
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, damaged))
    with pytest.raises(MedSegError):
        formats.read(path)


def test_a_file_larger_than_it_says_or_than_memory_is_not_inflated(tmp_path: Path) -> None:
    head = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 100 100 %d\nencoding: gzip\n\n"
    path = tmp_path / "a.nrrd"
    path.write_bytes(head % 1 + gzip.compress(bytes(10_000_000)))
    with pytest.raises(MedSegError, match="more voxels follow"):
        formats.read(path)
    path.write_bytes(head % 100_000_000 + gzip.compress(bytes(1000)))
    with pytest.raises(MedSegError, match="would take 1 TB of memory"):
        formats.read(path)
    path.write_bytes(head % 100 + gzip.compress(bytes(1_000_000)))
    with allow_memory(500_000), pytest.raises(MedSegError, match="would take 1 MB of memory"):
        formats.read(path)


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "LIST", "a%03d.raw 1 3 1", "..", ""])
def test_voxels_in_another_folder_or_in_several_files_are_not_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.mhd"
    path.write_text(f"NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {name}\n")
    with pytest.raises(MedSegError, match=r"another folder|several files"):
        formats.read(path)


def test_segmentations_in_a_folder_are_told_and_are_no_images(tmp_path: Path) -> None:
    sitk.WriteImage(make(), str(tmp_path / "scan.nrrd"))
    sitk.WriteImage(make(), str(tmp_path / "Segmentation.seg.nrrd"))
    found = formats.search_images(tmp_path)
    assert [source.name for source in found.sources] == ["scan.nrrd"]
    assert "left out: Segmentation.seg.nrrd" in found.note
    assert len(formats.find_images(tmp_path / "Segmentation.seg.nrrd")) == 1


def test_a_crop_of_slicer_is_laid_into_the_whole_grid_and_its_layers_are_joined(tmp_path: Path) -> None:
    sitk.WriteImage(make(), str(tmp_path / "scan.mha"))
    image = formats.read(tmp_path / "scan.mha")
    layers = np.zeros((2, 3, 2), np.uint8)  # (layer list first in the file) x 2, y 3, z 1
    head = "NRRD0004\ntype: uchar\ndimension: 4\nspace: left-posterior-superior\nsizes: 2 2 3 1\n"
    head += "space directions: none (0.7,0,0) (0,0.8,0) (0,0,2.5)\nkinds: list domain domain domain\nencoding: raw\n"
    head += f"space origin: ({-31.5 + 2 * 0.7},{12.25 + 0.8},{100 + 2.5})\n"
    for number, name in enumerate(("Lung_R", "Lung_L")):
        head += f"Segment{number}_Name:={name}\nSegment{number}_LabelValue:=1\nSegment{number}_Layer:={number}\n"
    layers = np.zeros((1, 3, 2, 2), np.uint8)
    layers[0, 0, 0, 0] = layers[0, 2, 1, 1] = 1
    (tmp_path / "s.seg.nrrd").write_bytes(f"{head}\n".encode() + layers.tobytes())
    placed = formats.read_mask(tmp_path / "s.seg.nrrd", image)
    wanted = np.zeros((4, 5, 6), np.uint8)
    wanted[1, 1, 2], wanted[1, 3, 3] = 1, 2
    np.testing.assert_array_equal(placed.pixels, wanted)
    assert "it covers 1 x 3 x 2 of 4 x 5 x 6 voxels" in placed.notes[0]
    layers[0, 2, 1, 0] = 1
    (tmp_path / "s.seg.nrrd").write_bytes(f"{head}\n".encode() + layers.tobytes())
    with pytest.raises(MedSegError, match="'Lung_R' and 'Lung_L' overlap in 1 voxels"):
        formats.read_mask(tmp_path / "s.seg.nrrd", image)


@pytest.mark.parametrize("damage", [b"Segment0_LabelValue:=one", b"Segment0_LabelValue:=-1", b"Segment0_Layer:=-1"])
def test_a_segment_with_a_damaged_number_is_refused(tmp_path: Path, damage: bytes) -> None:
    header = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 1\nencoding: raw\n" + damage + b"\n\n"
    (tmp_path / "a.seg.nrrd").write_bytes(header + bytes(4))
    with pytest.raises(MedSegError, match=r"a\.seg\.nrrd"):
        read_segment_values(tmp_path / "a.seg.nrrd")
