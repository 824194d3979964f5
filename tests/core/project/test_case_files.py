"""Files of a project are read by the size that their case has, and are refused only above it."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.decoded_size import limit
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import (
    read_image_copy,
    read_labels_on_case_grid,
    read_roi_labels,
    write_case_labels,
    write_image_copy,
)
from napari_medseg.core.records import Case

SHAPE = (20, 256, 256)


@pytest.fixture(autouse=True)
def nothing_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs hold the memory, and no ratio is plausible."""
    monkeypatch.setattr(limit, "ALWAYS_PLAUSIBLE_BYTES", 1000)
    monkeypatch.setattr(limit, "measure_free_bytes", lambda: 0)


def make_case(image: Image) -> Case:
    return Case(1, "bones", "one", "g", image.content_hash, image.axes, image.pixels.shape, None, (), False, "2026")


def make_volume(dtype: str = "u1") -> Image:
    pixels = np.zeros(SHAPE, dtype)
    pixels[3, 4, 5] = 7
    return Image(pixels, "ZYX")


@pytest.mark.parametrize("value", [1, 300, 70_000])
def test_nearly_empty_labels_of_a_project_are_read(value: int, tmp_path: Path) -> None:
    case = make_case(make_volume())
    labels = np.zeros(SHAPE, np.uint32)
    labels[3, 4, 5] = value
    path = tmp_path / write_case_labels(tmp_path, case, "correction", labels).file
    assert path.stat().st_size * limit.MAX_RATIO < labels.nbytes
    np.testing.assert_array_equal(read_labels_on_case_grid(path, case), labels)
    np.testing.assert_array_equal(read_roi_labels(path, case), labels)
    with pytest.raises(MedSegError, match="would take"):
        formats.read_labels(path)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_the_copy_of_a_nearly_empty_image_is_read(dtype: str, tmp_path: Path) -> None:
    image = make_volume(dtype)
    file = write_image_copy(tmp_path, image)
    np.testing.assert_array_equal(read_image_copy(tmp_path, make_case(image)).pixels, image.pixels)
    with pytest.raises(MedSegError, match="would take"):
        formats.read(tmp_path / file)


def test_a_file_that_is_larger_than_its_case_is_refused(tmp_path: Path) -> None:
    stored = write_case_labels(tmp_path, make_case(make_volume()), "field", make_volume().pixels)
    small = make_case(Image(np.zeros((2, 256, 256), np.uint8), "ZYX"))
    with pytest.raises(MedSegError, match=r"1\.31 MB of memory; 524 KB are allowed .* Restore it from a backup"):
        read_labels_on_case_grid(tmp_path / stored.file, small)
    image = make_volume()
    large = Image(np.zeros((200, 256, 256), np.uint8), "ZYX")
    path = tmp_path / write_image_copy(tmp_path, image)
    formats.write_image(path, large)
    with pytest.raises(MedSegError, match=r"copy of one is damaged .*10\.5 MB are allowed"):
        read_image_copy(tmp_path, make_case(image))
