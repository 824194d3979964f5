"""DICOM labels as dcmtk reads them: its own parser and its own pixels, on odd shapes."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from test_dicom_objects import KINDS, LPS_RAS
from written_labels import LUNGS, draw, list_centroids

from napari_medseg.core.label_files.registry import find_label_format

pytestmark = pytest.mark.skipif(
    shutil.which("dcm2json") is None or shutil.which("dcmj2pnm") is None, reason="needs dcmtk (apt install dcmtk)"
)
POSITION, ORIENTATION, SPACING = "00200032", "00200037", "00280030"


def read_json(path: Path) -> dict[str, Any]:
    done = subprocess.run(["dcm2json", str(path)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def get(item: dict[str, Any], *tags: str) -> Any:
    """Return the value behind tags: the first item of each sequence, and of the last one its values."""
    for tag in tags[:-1]:
        item = item[tag]["Value"][0]
    return item[tags[-1]]["Value"]


@pytest.mark.parametrize("name", KINDS)
def test_each_frame_of_a_segmentation_lies_where_dcmtk_finds_it(tmp_path: Path, name: str) -> None:
    pytest.importorskip("highdicom")
    image = KINDS[name](tmp_path)
    labels, path = draw(image), tmp_path / "l.dcm"
    find_label_format("dicom-seg").write(path, labels, image, LUNGS)
    said = read_json(path)
    subprocess.run(["dcmj2pnm", "+Fa", "+op", str(path), str(tmp_path / "frame")], check=True, capture_output=True)
    shared = get(said, "52009229")[0]
    row, column = np.array(get(shared, "00209116", ORIENTATION), float).reshape(2, 3)
    down, along = map(float, get(shared, "00289110", SPACING))
    value_of = {one["00620004"]["Value"][0]: int(one["00620020"]["Value"][0]) for one in get(said, "00620002")}
    points: dict[int, list[np.ndarray]] = {}
    for number, group in enumerate(get(said, "52009230")):
        plane = iio.imread(next(tmp_path.glob(f"frame.{number}.*"))) > 0
        value = value_of[get(group, "0062000A", "0062000B")[0]]
        y, x = np.nonzero(plane)
        origin = np.array(get(group, "00209113", POSITION), float)
        points.setdefault(value, []).append(origin + x[:, None] * row * along + y[:, None] * column * down)
    wanted = list_centroids(labels, image.affine)
    assert points.keys() == wanted.keys()
    for value, place in wanted.items():
        found = np.concatenate(points[value])
        assert len(found) == (labels == value).sum()
        np.testing.assert_allclose(found.mean(axis=0) * LPS_RAS, place, atol=1e-3)


@pytest.mark.parametrize("name", ["axial", "oblique", "tilted", "one row", "one slice"])
def test_contours_that_dcmtk_reads_have_the_area_of_the_labels(tmp_path: Path, name: str) -> None:
    image = KINDS[name](tmp_path)
    labels, path = draw(image), tmp_path / "l.dcm"
    find_label_format("rtstruct").write(path, labels, image, LUNGS)
    said = read_json(path)
    areas = {}
    for roi, contours in zip(get(said, "30060020"), get(said, "30060039"), strict=True):
        total = 0.0
        for contour in contours.get("30060040", {"Value": []})["Value"]:
            ring = np.array(contour["30060050"]["Value"], float).reshape(-1, 3)
            total += np.linalg.norm(np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0)) / 2
        areas[{"right lung": 1, "left lung": 2}[get(roi, "30060026")[0]]] = total
    source = read_json(image.sources[0])
    pixel_mm2 = float(np.prod([float(step) for step in get(source, SPACING)]))
    for value, area in areas.items():
        assert area / pixel_mm2 == pytest.approx((labels == value).sum(), abs=1e-3)
