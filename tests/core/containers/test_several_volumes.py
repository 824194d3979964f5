"""Files of four dimensions other than NIfTI: each volume is the one that SimpleITK or tifffile has there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

TURNED = [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]


def write_itk(path: Path, *, compress: bool) -> np.ndarray:
    """Write three volumes, (t, z, y, x), that lie turned in the patient."""
    values = np.random.default_rng(5).integers(-1000, 2000, (3, 4, 5, 6)).astype(np.int16)
    image = sitk.GetImageFromArray(values, isVector=False)
    image.SetSpacing((0.7, 0.8, 2.5, 4.0))
    image.SetOrigin((-10.0, 20.0, 30.0, 0.0))
    image.SetDirection(TURNED)
    sitk.WriteImage(image, str(path), useCompression=compress)
    return values


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
def test_each_volume_has_the_voxels_and_the_place_that_itk_gives_it(tmp_path: Path, name: str, compress: bool) -> None:
    write_itk(tmp_path / name, compress=compress)
    seen = sitk.ReadImage(str(tmp_path / name))
    sources = formats.find_images(tmp_path / name)
    assert [source.part for source in sources] == ["volume 1", "volume 2", "volume 3"]
    for n, source in enumerate(sources):
        image = formats.read_source(source)
        for index in [(0, 0, 0), (3, 5, 4), (1, 0, 2)]:
            assert image.affine is not None
            x, y, z = (image.affine @ [*index, 1])[:3] * [-1, -1, 1]
            assert seen[seen.TransformPhysicalPointToIndex((x, y, z, 4.0 * n))] == image.pixels[index]
        again = formats.read(image.sources[0])
        assert again.content_hash == image.content_hash
    with pytest.raises(MedSegError, match=r"holds 3 volumes.*a_volume1"):
        formats.read(tmp_path / name)
    with pytest.raises(MedSegError, match="no volume 4"):
        formats.read(tmp_path / name / f"a_volume4{Path(name).suffix}")


@pytest.mark.parametrize(
    ("kinds", "sizes", "directions"),
    [
        ("list domain domain domain", "3 6 5 4", "none (0.7,0,0) (0,0.8,0) (0,0,2.5)"),
        ("domain domain domain list", "6 5 4 3", "(0.7,0,0) (0,0.8,0) (0,0,2.5) none"),
        ("domain domain domain time", "6 5 4 3", "(0.7,0,0) (0,0.8,0) (0,0,2.5) none"),
        ("domain time domain domain", "6 3 5 4", "(0.7,0,0) none (0,0.8,0) (0,0,2.5)"),
    ],
)
def test_sequences_of_slicer_and_time_on_any_axis(tmp_path: Path, kinds: str, sizes: str, directions: str) -> None:
    values = np.random.default_rng(1).integers(-9, 900, (3, 4, 5, 6)).astype("<i2")
    axis = 3 - [word in ("list", "time") for word in kinds.split()].index(True)
    head = f"NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: {sizes}\n"
    head += f"space directions: {directions}\nkinds: {kinds}\nendian: little\nencoding: raw\nspace origin: (1,2,3)\n\n"
    (tmp_path / "a.seq.nrrd").write_bytes(head.encode() + np.moveaxis(values, 0, axis).tobytes())
    found = [formats.read_source(source) for source in formats.find_images(tmp_path)]
    assert len(found) == 3
    for image, volume in zip(found, values, strict=True):
        assert (image.spatial_shape, image.spacing_mm) == ((4, 5, 6), (2.5, 0.8, 0.7))
        assert image.storage is not None
        np.testing.assert_array_equal(image.storage.to_file(image.pixels), volume)


def test_a_truncated_sequence_and_too_long_a_one_are_refused(tmp_path: Path) -> None:
    write_itk(tmp_path / "a.mha", compress=True)
    content = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(content[:-20])
    with pytest.raises(MedSegError, match=r"a\.mha"):
        formats.read(tmp_path / "a.mha/a_volume1.mha")
    (tmp_path / "b.mha").write_bytes(content.replace(b"DimSize = 6 5 4 3", b"DimSize = 6 5 4 2"))
    with pytest.raises(MedSegError, match="more voxels follow"):
        formats.read(tmp_path / "b.mha/b_volume1.mha")
    (tmp_path / "c.mha").write_bytes(content.replace(b"DimSize = 6 5 4 3", b"DimSize = 6 5 4 90000"))
    with pytest.raises(MedSegError, match="90,000 volumes"):
        formats.read(tmp_path / "c.mha")


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 4, 12, 16), {"imagej": True, "metadata": {"axes": "TZYX"}}),
        ((3, 12, 16), {"imagej": True, "metadata": {"axes": "TYX"}}),
        ((3, 12, 16), {"ome": True, "metadata": {"axes": "TYX"}}),
        ((3, 4, 12, 16), {"ome": True, "metadata": {"axes": "TZYX"}, "compression": "zlib"}),
        ((3, 4, 12, 16), {"photometric": "minisblack", "metadata": {"axes": "TZYX"}}),
        ((3, 4, 12, 16, 3), {"photometric": "rgb", "metadata": {"axes": "TZYXS"}}),
        ((3, 4, 12, 16), {"bigtiff": True, "ome": True, "metadata": {"axes": "TZYX"}, "tile": (16, 16)}),
    ],
)
def test_each_time_point_of_a_tiff_is_an_image(tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    values = np.random.default_rng(2).integers(0, 255, shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    sources = formats.find_images(tmp_path)
    assert [source.part for source in sources] == ["volume 1", "volume 2", "volume 3"]
    for source, expected in zip(sources, values, strict=True):
        np.testing.assert_array_equal(formats.read_source(source).pixels, expected)
    with pytest.raises(MedSegError, match=r"holds 3 volumes.*a\.tif/a_volume1\.tif"):
        formats.read(tmp_path / "a.tif")


def test_time_that_runs_before_the_slices_is_found(tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 255, (4, 3, 12, 16)).astype(np.uint8)  # (z, t, y, x)
    tifffile.imwrite(tmp_path / "a.ome.tif", values, ome=True, metadata={"axes": "ZTYX"})
    image = formats.read(tmp_path / "a.ome.tif/a.ome_volume2.tif")
    np.testing.assert_array_equal(image.pixels, values[:, 1])
    assert image.name == "a volume 2"


def test_nobody_is_asked_for_a_time_point_of_a_file_with_channels(tmp_path: Path) -> None:
    values = np.zeros((3, 2, 12, 16), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "TCYX"})
    (source,) = formats.find_images(tmp_path)
    with pytest.raises(MedSegError, match="2 channels"):
        formats.read_source(source)


def test_an_array_of_objects_beside_another_one_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=np.array([{}], dtype=object), second=np.zeros((4, 5)))
    (source,) = formats.find_images(tmp_path)
    with pytest.raises(MedSegError, match="no pickle is loaded"):
        formats.read_source(source)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz", "a.tif"])
def test_a_mask_of_several_volumes_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    values = np.zeros((3, 4, 5, 6), np.uint8)
    if name == "a.tif":
        tifffile.imwrite(tmp_path / name, values, imagej=True, metadata={"axes": "TZYX"})
    else:
        sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), str(tmp_path / name))
    for read in (formats.read_mask_image, lambda path: formats.read_mask(path, None)):
        with pytest.raises(MedSegError, match="holds 3 volumes, and a mask has one"):
            read(tmp_path / name)
