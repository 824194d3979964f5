"""MetaImage, NRRD and .seg.nrrd: ITK finds every label where it was drawn."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from written_labels import LUNGS, NUCLEI, SERIES, TILTED, draw, list_centroids, series

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.volumes.segments import read_segment_names

SUFFIXES = [".mha", ".nrrd", ".seg.nrrd"]


def list_itk_centroids(seen: sitk.Image) -> dict[int, np.ndarray]:
    values = sitk.GetArrayFromImage(seen)
    found = {}
    for value in np.unique(values[values > 0]).tolist():
        index = np.argwhere(values == value).mean(axis=0)[::-1]
        found[value] = np.array(seen.TransformContinuousIndexToPhysicalPoint(index.tolist())) * [-1, -1, 1]
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", SERIES)
def test_centroid_and_voxels_of_each_label_are_those_that_itk_reads(tmp_path: Path, name: str, suffix: str) -> None:
    image = SERIES[name](tmp_path)
    labels = draw(image)
    path = tmp_path / f"l{suffix}"
    find_label_format(suffix).write(path, labels, image, LUNGS)
    seen = sitk.ReadImage(str(path))
    found, wanted = list_itk_centroids(seen), list_centroids(labels, image.affine)
    assert found.keys() == wanted.keys()
    for value, place in wanted.items():
        np.testing.assert_allclose(found[value], place, atol=1e-3)
        assert (sitk.GetArrayViewFromImage(seen) == value).sum() == (labels == value).sum()
    np.testing.assert_array_equal(formats.read_labels(path, image), labels)
    first = path.read_bytes()
    find_label_format(suffix).write(path, labels, image, LUNGS)
    assert path.read_bytes() == first


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_that_itk_wrote_are_read_in_the_same_place(tmp_path: Path, suffix: str) -> None:
    for name in ("sagittal", "oblique", "one row", "feet first prone", "one slice"):
        folder = tmp_path / name
        image = SERIES[name](folder)
        labels = draw(image)
        find_label_format(suffix).write(folder / f"a{suffix}", labels, image, LUNGS)
        seen = sitk.ReadImage(str(folder / f"a{suffix}"))
        for key in seen.GetMetaDataKeys():
            seen.EraseMetaData(key)
        sitk.WriteImage(seen, str(folder / f"b{suffix}"))
        assert b"medseg" not in (folder / f"b{suffix}").read_bytes()
        np.testing.assert_array_equal(formats.read_labels(folder / f"b{suffix}", image), labels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tilted_series_has_the_slices_that_itk_reads(tmp_path: Path, suffix: str) -> None:
    image = series((5, 6, 7), step=TILTED)(tmp_path)
    labels = draw(image)
    find_label_format(suffix).write(tmp_path / f"l{suffix}", labels, image, LUNGS)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    scan, seen = reader.Execute(), sitk.ReadImage(str(tmp_path / f"l{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(seen), labels)
    np.testing.assert_allclose(seen.GetDirection(), scan.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(seen.GetOrigin(), scan.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(seen.GetSpacing(), scan.GetSpacing(), atol=1e-3)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / f"l{suffix}", image), labels)
    scan.CopyInformation(seen)
    drawn = sitk.GetImageFromArray(labels)
    drawn.CopyInformation(scan)
    sitk.WriteImage(drawn, str(tmp_path / f"other{suffix}"))
    np.testing.assert_array_equal(formats.read_labels(tmp_path / f"other{suffix}", image), labels)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".ome.tif", ".tif", ".nii.gz"])
def test_70_000_numbers_survive(tmp_path: Path, suffix: str) -> None:
    labels = np.arange(280 * 251, dtype=np.uint32).reshape(280, 251)
    image = Image(np.zeros(labels.shape, np.uint8), "YX", (0.00025, 0.0005))
    path = tmp_path / f"l{suffix}"
    find_label_format(suffix).write(path, labels, image, NUCLEI)
    np.testing.assert_array_equal(np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))), labels)
    np.testing.assert_array_equal(formats.read_labels(path, image), labels)
    np.testing.assert_allclose(sitk.ReadImage(str(path)).GetSpacing()[:2], (0.0005, 0.00025), rtol=1e-6)


def test_3d_slicer_finds_names_colours_and_extents(tmp_path: Path) -> None:
    image = SERIES["axial"](tmp_path)
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[1:3, 2, 3:6] = 2
    path = tmp_path / "l.seg.nrrd"
    find_label_format("seg.nrrd").write(path, labels, image, LUNGS)
    keys = {key: value for key, value in _list_keys(path).items() if key.startswith("Segment1_")}
    assert keys["Segment1_Name"] == "left lung"
    assert keys["Segment1_LabelValue"] == "2"
    assert keys["Segment1_Layer"] == "0"
    x, y, z = (slice(int(a), int(b) + 1) for a, b in np.array(keys["Segment1_Extent"].split()).reshape(3, 2))
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert (seen[z, y, x] == 2).all()
    assert (seen == 2).sum() == (labels == 2).sum()
    np.testing.assert_allclose(
        [float(c) for c in keys["Segment1_Color"].split()], [0x56 / 255, 0xB4 / 255, 0xE9 / 255], atol=1e-5
    )
    assert "SCT^39607008^Lung~SCT^7771000^Left" in keys["Segment1_Tags"]
    assert "lungs-unet@4, accepted by Anna" in _list_keys(path)["medseg_provenance"]
    assert read_segment_names(path) == {1: "right lung", 2: "left lung"}


def test_itk_keeps_what_a_metaimage_says_about_its_labels(tmp_path: Path) -> None:
    image = SERIES["axial"](tmp_path)
    find_label_format("mha").write(tmp_path / "l.mha", draw(image), image, LUNGS)
    seen = sitk.ReadImage(str(tmp_path / "l.mha"))
    assert seen.GetMetaData("medseg_labels") == "1 right lung, 2 left lung"
    assert "lungs-unet@4" in seen.GetMetaData("medseg_provenance")


def _list_keys(path: Path) -> dict[str, str]:
    header = path.read_bytes().split(b"\n\n")[0].decode()
    return dict(line.split(":=", 1) for line in header.splitlines() if ":=" in line)
