"""Series whose gaps are a little uneven: shown on an even grid, with a remark; labels stay on their slices."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, SPACING, noise, write_slice

from napari_medseg.core import formats
from napari_medseg.core.dicom_labels.reader import read_dicom_labels
from napari_medseg.core.errors import IrregularSlicesError
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.tasks.bundled_tasks import get_task

TILT = np.tan(np.radians(12))


def write_at(folder: Path, places: list[float], tilt: float = 0.0) -> Path:
    folder.mkdir()
    for n, z in enumerate(places):
        path = folder / f"{n}.dcm"
        write_slice(path, noise((16, 18), n), (0, tilt * z, z), orientation=AXIAL, FrameOfReferenceUID="1.2.9")
    return folder


def place(steps: list[float]) -> list[float]:
    return [0.0, *np.cumsum(steps).round(4).tolist()]


@pytest.mark.parametrize("tilt", [0.0, TILT])
@pytest.mark.parametrize(
    "steps",
    [[2.5, 2.7, 2.3, 2.5, 2.6, 2.4], [2.5, 2.2, 2.8, 2.5], [0.5, 0.55, 0.45, 0.5], [2.5, 2.5, 2.5, 2.1]],
)
def test_small_differences_are_read_with_the_mean_distance_and_said(
    tmp_path: Path, steps: list[float], tilt: float
) -> None:
    image = formats.read(write_at(tmp_path / "a", place(steps), tilt))
    scale = np.sqrt(1 + tilt**2)
    assert image.spacing_mm == pytest.approx((np.mean(steps), *SPACING), abs=1e-6)
    assert any(f"{min(steps):.2f} to {max(steps):.2f} mm apart" in note for note in image.notes)
    even = np.linspace(0, sum(steps), len(steps) + 1)
    assert image.slice_shift_mm == pytest.approx(np.abs(even - place(steps)).max() * scale, abs=1e-3)


@pytest.mark.parametrize(
    "steps",
    [
        [2.5, 2.5, 5.0, 2.5],
        [2.5, 3.2, 2.5, 1.8],
        [2.0, 2.1, 2.2, 2.3, 2.4, 2.5],
        [1.25, 1.25, 1.25, 5, 5, 5],
        [2.5] * 4 + [2.9] * 4,
    ],
    ids=["missing", "a third off", "growing", "two series", "adding up"],
)
def test_what_is_no_even_grid_is_refused_and_can_be_opened_slice_by_slice(tmp_path: Path, steps: list[float]) -> None:
    folder = write_at(tmp_path / "a", place(steps))
    with pytest.raises(IrregularSlicesError, match="one by one"):
        formats.read(folder)
    images = [one for one in formats.read_images(sorted(folder.iterdir())) if isinstance(one, Image)]
    assert len(images) == len(steps) + 1


def test_even_gaps_say_nothing(tmp_path: Path) -> None:
    image = formats.read(write_at(tmp_path / "a", place([2.5, 2.51, 2.49, 2.5])))
    assert image.notes == ()
    assert image.slice_shift_mm < 0.02


@pytest.mark.parametrize("kind", ["dicom-seg", "rtstruct"])
@pytest.mark.parametrize("tilt", [0.0, TILT])
def test_labels_go_out_on_the_slices_themselves_and_come_back(tmp_path: Path, kind: str, tilt: float) -> None:
    places = place([2.5, 2.85, 2.15, 2.5])
    image = formats.read(write_at(tmp_path / "a", places, tilt))
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[1:4, 3:12, 4:13] = 1
    labels[2, 5:8, 6:9] = 2
    chosen = find_label_format(kind)
    path = tmp_path / f"a{chosen.suffix}"
    chosen.write(path, labels, image, LabelDescription(get_task("lungs"), "lungs-unet@4", image_file="a"))
    values, _ = read_dicom_labels(path, image)
    np.testing.assert_array_equal(values > 0, labels > 0)
    written = pydicom.dcmread(path)
    if kind == "rtstruct":
        contours = [one for region in written.ROIContourSequence for one in region.get("ContourSequence", ())]
        heights = {round(float(contour.ContourData[2]), 4) for contour in contours}
    else:
        frames = written.PerFrameFunctionalGroupsSequence
        heights = {round(float(frame.PlanePositionSequence[0].ImagePositionPatient[2]), 4) for frame in frames}
    assert heights == set(places[1:4])
