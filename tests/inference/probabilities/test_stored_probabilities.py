import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.model_threshold import reaches_threshold
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.inference.probabilities.probability_file import ProbabilityHeader, ProbabilityWriter
from napari_medseg.inference.probabilities.stored_probabilities import (
    DamagedProbabilities,
    StoredProbabilities,
    compute_uncertainty_percent,
)

SHAPE = (3, 700, 90)


def make_maps(n_maps: int = 3, shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (n_maps, *shape), np.uint8)


def write(
    path: Path, maps: NDArray[np.uint8], corner: tuple[int, int] = (0, 0), shape: tuple[int, ...] = SHAPE
) -> None:
    writer = ProbabilityWriter(path)
    for plane in range(maps.shape[1]):
        for top in range(0, maps.shape[2], 300):
            writer.write(plane, top, maps[:, plane, top : top + 300])
    size = (maps.shape[2], maps.shape[3])
    writer.finish(
        ProbabilityHeader(
            shape=shape, n_maps=len(maps), maps="classes", corner=corner, size=size, weights_sha256="of the model"
        )
    )


def test_a_box_is_read_as_from_the_array(tmp_path: Path) -> None:
    maps = make_maps()
    write(tmp_path / "file.zip", maps)
    stored = StoredProbabilities(tmp_path / "file.zip", SHAPE)
    for box in (
        (slice(0, 3), slice(0, 700), slice(0, 90)),
        (slice(1, 2), slice(290, 530), slice(3, 4)),
        (slice(2, 3), slice(None), slice(-5, None)),
        (slice(1, 1), slice(0, 9), slice(0, 9)),
    ):
        np.testing.assert_array_equal(stored.read(box), maps[(slice(None), *box)])
        np.testing.assert_array_equal(stored[1][box], maps[(1, *box)])
    assert len(list(stored)) == 3
    stored.check()


def test_outside_the_region_of_interest_is_background(tmp_path: Path) -> None:
    maps = make_maps(2, (1, 20, 30))
    write(tmp_path / "file.zip", maps, corner=(5, 7), shape=(40, 60))
    whole = StoredProbabilities(tmp_path / "file.zip", (40, 60)).read((slice(None), slice(None)))
    np.testing.assert_array_equal(whole[:, 5:25, 7:37], maps[:, 0])
    whole[:, 5:25, 7:37] = [[[255]], [[0]]]
    assert (whole[0] == 255).all()
    assert not whole[1].any()


def test_the_tools_read_it_like_an_array(tmp_path: Path) -> None:
    maps = make_maps()
    write(tmp_path / "file.zip", maps)
    labels = np.zeros(SHAPE, np.uint8)
    stored = StoredProbabilities(tmp_path / "file.zip", SHAPE)
    box = (slice(0, 2), slice(10, 60), slice(20, 80))
    found, wanted = (
        reaches_threshold(Canvas(labels, TASKS["lungs"], probability=probability), box, 2, 0.4)
        for probability in (stored, maps)
    )
    np.testing.assert_array_equal(found, wanted)


def test_the_uncertainty_is_what_is_left_for_other_labels() -> None:
    maps = np.array([[255, 127, 100, 0], [0, 128, 100, 85], [0, 0, 55, 170]], np.uint8)
    assert compute_uncertainty_percent(maps, "classes").tolist() == [0, 50, 61, 33]
    assert compute_uncertainty_percent(maps, "objects").tolist() == [0, 50, 39, 0]


@pytest.mark.parametrize("at", [100, 0.3, 0.6, -10], ids=str)
def test_a_damaged_byte_is_found(tmp_path: Path, at: float) -> None:
    path = tmp_path / "file.zip"
    write(path, make_maps())
    data = bytearray(path.read_bytes())
    place = round(at * len(data)) if isinstance(at, float) else int(at)
    data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(DamagedProbabilities, match="computed again"):
        StoredProbabilities(path, SHAPE).check()


def test_half_a_file_and_other_files_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    write(path, make_maps())
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DamagedProbabilities):
            StoredProbabilities(path, SHAPE)


def test_a_file_of_another_image_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "file.zip", make_maps())
    with pytest.raises(DamagedProbabilities, match="shape"):
        StoredProbabilities(tmp_path / "file.zip", (3, 700, 91))


@pytest.mark.parametrize(
    "name", ["0-0-0-0-600-1", "0-7-0-0-9-9", "0-0-695-0-9-9", "0-0-0-0-0-9", "0-0--1-0-9-9", "../x", "0-0-0-0-9-9"]
)
def test_a_part_that_does_not_fit_is_refused_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
        header = ProbabilityHeader(
            shape=SHAPE, n_maps=3, maps="classes", corner=(0, 0), size=(700, 90), weights_sha256=""
        )
        archive.writestr("header.json", header.model_dump_json())
    with pytest.raises(DamagedProbabilities):
        StoredProbabilities(path, SHAPE)


def test_a_missing_file_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StoredProbabilities(tmp_path / "file.zip", SHAPE)
