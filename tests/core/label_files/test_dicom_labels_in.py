"""DICOM-SEG and RTSTRUCT read as labels on their series: those of this program, of highdicom, and of pydicom alone."""

import copy
import struct
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import noise, write_series
from written_labels import LUNGS, SERIES, TILTED, draw, series

from napari_medseg.core import formats
from napari_medseg.core.dicom_labels.reader import (
    count_dicom_values,
    find_label_class,
    read_dicom_label_names,
    read_dicom_labels,
)
from napari_medseg.core.errors import HeaderMismatchError, MedSegError
from napari_medseg.core.label_files.dicom_seg_writer import _complete
from napari_medseg.core.label_files.registry import find_label_format

KINDS = {**SERIES, "tilted": series((5, 6, 7), step=TILTED)}


@pytest.mark.parametrize("kind", ["dicom-seg", "rtstruct"])
@pytest.mark.parametrize("name", KINDS)
def test_what_we_write_is_read_on_its_series(tmp_path: Path, name: str, kind: str) -> None:
    pytest.importorskip("highdicom")
    image = KINDS[name](tmp_path)
    labels = draw(image)
    wanted = find_label_format(kind)
    wanted.write(tmp_path / "l.dcm", labels, image, LUNGS)
    np.testing.assert_array_equal(wanted.read_back(tmp_path / "l.dcm", image, LUNGS), labels)
    np.testing.assert_array_equal(formats.read_mask(tmp_path / "l.dcm", image).pixels, labels)
    assert read_dicom_label_names(tmp_path / "l.dcm") == {1: "right lung", 2: "left lung"}
    counted = count_dicom_values(tmp_path / "l.dcm")
    assert counted.keys() == {1, 2}
    if kind == "dicom-seg":
        assert counted == {value: int((labels == value).sum()) for value in (1, 2)}


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_fractions_and_label_maps_of_highdicom(tmp_path: Path, kind: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    image = SERIES["sagittal"](tmp_path)
    labels = (draw(image) == 1).astype(np.uint8)
    find_label_format("dicom-seg").write(tmp_path / "l.dcm", labels, image, LUNGS)
    described = pydicom.dcmread(tmp_path / "l.dcm").SegmentSequence
    planes = formats.labels.reorient_to_file(labels, image.storage)
    fractions = np.where(planes > 0, 0.6, 0.4)
    built = highdicom.seg.Segmentation(
        [_complete(pydicom.dcmread(path)) for path in image.sources],
        fractions if kind == "FRACTIONAL" else planes,
        kind,
        [highdicom.seg.SegmentDescription.from_dataset(one) for one in described],
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "m",
        "n",
        "1",
        "0",
    )
    built.save_as(tmp_path / "other.dcm")
    found, notes = read_dicom_labels(tmp_path / "other.dcm", image)
    np.testing.assert_array_equal(found, labels)
    assert bool(notes) == (kind == "FRACTIONAL")


def test_another_series_is_refused_and_an_image_is_no_mask(tmp_path: Path) -> None:
    image = SERIES["axial"](tmp_path)
    find_label_format("rtstruct").write(tmp_path / "l.dcm", draw(image), image, LUNGS)
    write_series(tmp_path / "other", noise((4, 5, 7)), SeriesInstanceUID="1.2.77")
    other = formats.read(tmp_path / "other")
    with pytest.raises(HeaderMismatchError, match="drawn on another series"):
        read_dicom_labels(tmp_path / "l.dcm", other)
    assert not find_label_class(image.sources[0])
    with pytest.raises(MedSegError, match="neither a segmentation"):
        formats.read_mask(image.sources[0], image)


def test_overlapping_regions_are_refused_with_their_voxels(tmp_path: Path) -> None:
    image = SERIES["axial"](tmp_path)
    find_label_format("rtstruct").write(tmp_path / "l.dcm", draw(image), image, LUNGS)
    file = pydicom.dcmread(tmp_path / "l.dcm")
    file.ROIContourSequence[1].ContourSequence = file.ROIContourSequence[0].ContourSequence
    file.save_as(tmp_path / "l.dcm")
    with pytest.raises(MedSegError, match=r"segments 1 \(right lung\) and 2 \(left lung\) overlap in [\d,]+ voxels"):
        read_dicom_labels(tmp_path / "l.dcm", image)


def test_a_truncated_object_is_refused(tmp_path: Path) -> None:
    image = SERIES["axial"](tmp_path)
    find_label_format("rtstruct").write(tmp_path / "l.dcm", draw(image), image, LUNGS)
    content = (tmp_path / "l.dcm").read_bytes()
    for size in (140, 400, len(content) // 4, len(content) // 2):
        (tmp_path / "l.dcm").write_bytes(content[:size])
        with pytest.raises(MedSegError):
            read_dicom_labels(tmp_path / "l.dcm", image)


def test_contours_that_are_not_closed_are_told_for_each_structure(tmp_path: Path) -> None:
    image = SERIES["axial"](tmp_path) if "axial" in SERIES else next(iter(SERIES.values()))(tmp_path)
    labels = draw(image)
    find_label_format("rtstruct").write(tmp_path / "l.dcm", labels, image, LUNGS)
    dataset = pydicom.dcmread(tmp_path / "l.dcm")
    first, second = dataset.ROIContourSequence
    first.ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
    for contour in second.ContourSequence:
        contour.ContourGeometricType = "POINT"
    dataset.save_as(tmp_path / "open.dcm")
    read, notes = read_dicom_labels(tmp_path / "open.dcm", image)
    n_first, n_second = len(first.ContourSequence), len(second.ContourSequence)
    assert notes[-2:] == (
        f"right lung: 1 contour is not closed and left out (1 OPEN_PLANAR); {n_first - 1} closed ones are read",
        f"left lung: {n_second} contours are not closed and left out ({n_second} POINT); so it has no voxel",
    )
    assert set(np.unique(read)) <= {0, 1}
    assert 0 < (read == 1).sum() < (labels == 1).sum()


@pytest.mark.parametrize("kind", ["dicom-seg", "rtstruct"])
def test_an_object_of_millions_of_items_is_refused_before_it_is_parsed(tmp_path: Path, kind: str) -> None:
    image = SERIES["axial"](tmp_path)
    find_label_format(kind).write(tmp_path / "l.dcm", draw(image), image, LUNGS)
    content = (tmp_path / "l.dcm").read_bytes()
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 400_000
    sequence = struct.pack("<HH2sHL", 0x7FE1 if kind == "dicom-seg" else 0x3007, 0x1010, b"SQ", 0, len(items))
    (tmp_path / "l.dcm").write_bytes(content + sequence + items)
    began = time.process_time()
    with pytest.raises(MedSegError, match="DICOM elements"):
        read_dicom_labels(tmp_path / "l.dcm", image)
    with pytest.raises(MedSegError, match="DICOM elements"):
        read_dicom_label_names(tmp_path / "l.dcm")
    assert time.process_time() - began < 5


def test_a_long_contour_takes_no_object_for_each_number_and_open_lines_are_told(tmp_path: Path) -> None:
    image = SERIES["axial"](tmp_path)
    find_label_format("rtstruct").write(tmp_path / "l.dcm", draw(image), image, LUNGS)
    expected, _ = read_dicom_labels(tmp_path / "l.dcm", image)
    file = pydicom.dcmread(tmp_path / "l.dcm")
    contour = file.ROIContourSequence[0].ContourSequence[0]
    lines = [copy.deepcopy(contour) for _ in range(3)]
    for line in lines:
        line.ContourGeometricType = "OPEN_PLANAR"
    contour.ContourData = list(contour.ContourData) + list(contour.ContourData[-3:]) * 50_000
    file.ROIContourSequence[0].ContourSequence.extend(lines)
    file.save_as(tmp_path / "l.dcm")
    began = time.process_time()
    found, notes = read_dicom_labels(tmp_path / "l.dcm", image)
    assert time.process_time() - began < 5
    np.testing.assert_array_equal(found, expected)
    assert any("3 contours are not closed and left out (3 OPEN_PLANAR)" in note for note in notes)


def test_values_at_the_half_of_a_fraction_count_and_lower_ones_do_not(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    image = SERIES["axial"](tmp_path)
    labels = (draw(image) == 1).astype(np.uint8)
    find_label_format("dicom-seg").write(tmp_path / "l.dcm", labels, image, LUNGS)
    described = pydicom.dcmread(tmp_path / "l.dcm").SegmentSequence[:1]
    planes = np.where(formats.labels.reorient_to_file(labels, image.storage) > 0, 0.5, 0.49)
    built = highdicom.seg.Segmentation(
        [_complete(pydicom.dcmread(path)) for path in image.sources],
        planes,
        "FRACTIONAL",
        [highdicom.seg.SegmentDescription.from_dataset(one) for one in described],
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "m",
        "n",
        "1",
        "0",
        max_fractional_value=100,
    )
    built.save_as(tmp_path / "half.dcm")
    found, notes = read_dicom_labels(tmp_path / "half.dcm", image)
    np.testing.assert_array_equal(found, labels)
    assert "from a half of 100 on" in notes[-1]
