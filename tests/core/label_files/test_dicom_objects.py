"""DICOM-SEG and RTSTRUCT: highdicom and pydicom find every label on the slices of its series."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import noise, write_enhanced, write_series, write_slice
from written_labels import LUNGS, NUCLEI, SERIES, TILTED, draw, list_centroids, series

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import find_label_format

KINDS = {**SERIES, "tilted": series((5, 6, 7), step=TILTED)}
LPS_RAS = np.array([-1, -1, 1])


def write_twice(path: Path, kind: str, labels: np.ndarray, image: Image, described: Any = LUNGS) -> pydicom.Dataset:
    write = find_label_format(kind).write
    write(path, labels, image, described)
    first = path.read_bytes()
    write(path, labels, image, described)
    assert path.read_bytes() == first
    return pydicom.dcmread(path)


@pytest.mark.parametrize("name", KINDS)
def test_highdicom_finds_every_voxel_of_a_segmentation_at_its_place(tmp_path: Path, name: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    image = KINDS[name](tmp_path)
    labels = draw(image)
    file = write_twice(tmp_path / "l.dcm", "dicom-seg", labels, image)
    seen = highdicom.seg.segread(tmp_path / "l.dcm")
    positions: dict[int, list[np.ndarray]] = {}
    row, column = np.array(
        file.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient, float
    ).reshape(2, 3)
    down, along = map(float, file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing)
    planes = np.atleast_3d(seen.pixel_array.T).T
    for plane, groups in zip(planes, file.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        value = int(file.SegmentSequence[number - 1].TrackingID)
        origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        y, x = np.nonzero(plane)
        positions.setdefault(value, []).append(origin + x[:, None] * row * along + y[:, None] * column * down)
    wanted = list_centroids(labels, image.affine)
    assert positions.keys() == wanted.keys()
    for value, place in wanted.items():
        points = np.concatenate(positions[value])
        assert len(points) == (labels == value).sum()
        np.testing.assert_allclose(points.mean(axis=0) * LPS_RAS, place, atol=1e-3)
    assert file.FrameOfReferenceUID == "1.2.9"
    assert file.StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize("name", KINDS)
def test_contours_enclose_exactly_the_voxels_in_their_slices(tmp_path: Path, name: str) -> None:
    shapely = pytest.importorskip("shapely")
    image = KINDS[name](tmp_path)
    labels = draw(image)
    file = write_twice(tmp_path / "l.dcm", "rtstruct", labels, image)
    by_instance = {}
    for path in image.sources:
        one = pydicom.dcmread(path, stop_before_pixels=True)
        by_instance[one.SOPInstanceUID] = one
    points: dict[int, list[np.ndarray]] = {}
    for roi, contours in zip(file.StructureSetROISequence, file.ROIContourSequence, strict=True):
        value = {"right lung": 1, "left lung": 2}[roi.ROIName]
        for contour in contours.get("ContourSequence", []):
            plane = by_instance[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            row, column = np.array(plane.ImageOrientationPatient, float).reshape(2, 3)
            origin, (down, along) = np.array(plane.ImagePositionPatient, float), map(float, plane.PixelSpacing)
            corners = np.array(contour.ContourData, float).reshape(-1, 3) - origin
            assert np.abs(corners @ np.cross(row, column)).max() < 1e-5  # in the plane of the slice
            x, y = corners @ row / along, corners @ column / down
            rows, columns = np.indices((plane.Rows, plane.Columns))
            ring = shapely.Polygon(np.column_stack([x, y])).buffer(0)
            inside = shapely.contains_xy(ring, columns, rows)
            found = origin + columns[inside][:, None] * row * along + rows[inside][:, None] * column * down
            points.setdefault(value, []).append(found)
    wanted = list_centroids(labels, image.affine)
    assert points.keys() == wanted.keys()
    for value, place in wanted.items():
        found = np.concatenate(points[value])
        assert len(found) == (labels == value).sum()
        np.testing.assert_allclose(found.mean(axis=0) * LPS_RAS, place, atol=1e-3)


def test_a_segmentation_says_what_who_and_with_which_model(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    image = SERIES["axial"](tmp_path)
    file = write_twice(tmp_path / "l.dcm", "dicom-seg", draw(image), image)
    right, left = file.SegmentSequence
    assert (right.SegmentLabel, left.SegmentLabel) == ("right lung", "left lung")
    kind = right.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("39607008", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert right.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert right.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert right.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "lungs-unet"
    assert right.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "4"
    assert file.ContentCreatorName == "Anna^"
    assert (file.ContentDate, file.ContentTime) == ("20260504", "030201")
    assert len(right.RecommendedDisplayCIELabValue) == 3
    assert {one.ReferencedSOPInstanceUID for one in file.ReferencedSeriesSequence[0].ReferencedInstanceSequence} == {
        pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in image.sources
    }


def test_a_name_in_one_part_is_printed_in_no_warning(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "ct", noise((2, 8, 9)), PatientName="ANONYM01", FrameOfReferenceUID="1.2.9")
    image = formats.read(tmp_path / "ct")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        file = write_twice(tmp_path / "l.dcm", "dicom-seg", draw(image), image)
    assert file.PatientName == "ANONYM01"
    assert not [str(one.message) for one in told if "ANONYM01" in str(one.message)]


def test_frames_of_an_enhanced_series_in_any_order_get_their_own_labels(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_enhanced(tmp_path / "e.dcm", noise((4, 5, 6)), [2, 0, 3, 1], FrameOfReferenceUID="1.2.9", InstanceNumber=1)
    image = formats.read(tmp_path / "e.dcm")
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[2, 1, 3] = 2
    for kind in ("dicom-seg", "rtstruct"):
        file = write_twice(tmp_path / "l.dcm", kind, labels, image)
        if kind == "dicom-seg":
            (group,) = file.PerFrameFunctionalGroupsSequence
            place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            np.testing.assert_allclose(place * LPS_RAS, (image.affine @ [2, 0, 0, 1])[:3], atol=1e-6)
        else:
            (contour,) = file.ROIContourSequence[1].ContourSequence
            assert contour.ContourImageSequence[0].ReferencedFrameNumber == 1  # the third slice is the first frame
            assert float(contour.ContourData[2]) == pytest.approx(2.5)


def test_what_is_no_series_is_refused_with_another_way(tmp_path: Path) -> None:
    image = Image(np.zeros((3, 4), np.uint8), "YX", name="photo")
    labels = np.ones((3, 4), np.uint8)
    for kind in ("dicom-seg", "rtstruct"):
        with pytest.raises(MedSegError, match=r"photo is not from DICOM.*Export .seg.nrrd"):
            find_label_format(kind).write(tmp_path / "l.dcm", labels, image, LUNGS)
    write_series(tmp_path / "s", noise((2, 3, 4)))
    scan = formats.read(tmp_path / "s")
    scan.sources[1].unlink()
    with pytest.raises(MedSegError, match=r"is gone \(1 of 2 files\)"):
        find_label_format("rtstruct").write(tmp_path / "l.dcm", np.ones((2, 3, 4), np.uint8), scan, LUNGS)


def test_a_film_without_a_place_has_a_segmentation_but_no_contours(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_slice(tmp_path / "film.dcm", noise((6, 5)), None, Modality="DX")
    image = formats.read(tmp_path / "film.dcm")
    labels = np.zeros((6, 5), np.uint8)
    labels[1:3, 2] = 1
    with pytest.raises(MedSegError, match="does not say where it lies in the patient"):
        find_label_format("rtstruct").write(tmp_path / "l.dcm", labels, image, LUNGS)
    file = write_twice(tmp_path / "l.dcm", "dicom-seg", labels, image)
    np.testing.assert_array_equal(np.squeeze(file.pixel_array), labels)


def test_an_empty_segmentation_and_too_many_objects_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_slice(tmp_path / "a.dcm", noise((280, 251)), FrameOfReferenceUID="1.2.9")
    image = formats.read(tmp_path / "a.dcm")
    with pytest.raises(MedSegError, match="has no label"):
        find_label_format("dicom-seg").write(tmp_path / "l.dcm", np.zeros((280, 251), np.uint8), image, LUNGS)
    numbers = np.arange(280 * 251, dtype=np.uint32).reshape(280, 251)
    with pytest.raises(MedSegError, match="70,279 objects, and a DICOM segmentation numbers 65,535"):
        find_label_format("dicom-seg").write(tmp_path / "l.dcm", numbers, image, NUCLEI)


def test_a_missing_highdicom_names_the_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    image = Image(np.zeros((3, 4), np.uint8), "YX")
    with pytest.raises(MedSegError, match=r'pip install "napari-medseg\[highdicom\]"'):
        find_label_format("dicom-seg").write(tmp_path / "l.dcm", np.ones((3, 4), np.uint8), image, LUNGS)


def test_slices_shorter_than_a_byte_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    image = series((3, 1, 7))(tmp_path)
    with pytest.raises(MedSegError, match="fewer than 8 pixels"):
        find_label_format("dicom-seg").write(tmp_path / "l.dcm", np.ones((3, 1, 7), np.uint8), image, LUNGS)
