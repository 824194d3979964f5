"""COCO and GeoJSON: pycocotools and shapely find exactly the pixels that were drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from written_labels import LUNGS, NUCLEI

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.boundaries import compute_area, join_holes, trace_regions
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.outlines.coco import read_coco
from napari_medseg.core.outlines.objects import rasterise_labels


def make_planes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    ring = np.zeros((9, 11), np.uint8)
    ring[1:8, 2:9] = 1
    ring[3:6, 4:7] = 0
    ring[4, 5] = 2
    touching = np.kron(np.eye(4, dtype=np.uint8), np.ones((2, 3), np.uint8))
    return {
        "hole": ring,
        "diagonal": touching,
        "noise": rng.integers(0, 3, (13, 8)).astype(np.uint8),
        "full": np.ones((4, 6), np.uint8),
        "one row": np.array([[1, 1, 0, 2, 1]], np.uint8),
        "one column": np.array([[1], [2], [0], [1]], np.uint8),
        "one pixel": np.array([[1]], np.uint8),
        "empty": np.zeros((3, 4), np.uint8),
    }


PLANES = make_planes()


def plane_image(labels: np.ndarray) -> Image:
    return Image(np.zeros(labels.shape, np.uint8), "YX", (0.5, 0.25), name="slide")


@pytest.mark.parametrize("kind", ["coco", "coco-polygons"])
@pytest.mark.parametrize("name", PLANES)
def test_pycocotools_finds_the_same_pixels(tmp_path: Path, name: str, kind: str) -> None:
    mask_tools = pytest.importorskip("pycocotools.mask")
    coco_tools = pytest.importorskip("pycocotools.coco")
    labels = PLANES[name]
    path = tmp_path / "l.json"
    find_label_format(kind).write(path, labels, plane_image(labels), LUNGS)
    data = coco_tools.COCO(str(path))
    assert {one["name"] for one in data.loadCats(data.getCatIds())} == {"right lung", "left lung"}
    drawn = np.zeros_like(labels)
    for one in data.loadAnns(data.getAnnIds()):
        mask = data.annToMask(one).astype(bool)
        assert one["area"] == mask.sum() == mask_tools.area(data.annToRLE(one))
        y, x = np.nonzero(mask)
        assert one["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert not drawn[mask].any()
        drawn[mask] = one["category_id"]
    np.testing.assert_array_equal(drawn, labels)
    first = path.read_bytes()
    find_label_format(kind).write(path, labels, plane_image(labels), LUNGS)
    assert path.read_bytes() == first


@pytest.mark.parametrize("kind", ["coco", "coco-polygons"])
def test_our_own_reader_gets_the_objects_back(tmp_path: Path, kind: str) -> None:
    labels = PLANES["hole"]
    find_label_format(kind).write(tmp_path / "l.json", labels, plane_image(labels), LUNGS)
    picture = read_coco(tmp_path / "l.json").images[0]
    back = rasterise_labels(picture.objects, labels.shape, {"right lung": 1, "left lung": 2})
    np.testing.assert_array_equal(back, labels)
    assert picture.file_name == "case.png"


@pytest.mark.parametrize("name", PLANES)
def test_shapely_finds_the_same_pixels_in_valid_polygons(tmp_path: Path, name: str) -> None:
    shapely = pytest.importorskip("shapely")
    labels = PLANES[name]
    path = tmp_path / "l.geojson"
    find_label_format("geojson").write(path, labels, plane_image(labels), LUNGS)
    content = json.loads(path.read_text())
    y, x = np.indices(labels.shape) + 0.5
    drawn = np.zeros_like(labels)
    for feature in content["features"]:
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid, shapely.is_valid_reason(shape)
        inside = shapely.contains_xy(shape, x, y)
        assert shape.area == inside.sum()
        assert shape.exterior.is_ccw if shape.geom_type == "Polygon" else True
        drawn[inside] = {"right lung": 1, "left lung": 2}[feature["properties"]["classification"]["name"]]
    np.testing.assert_array_equal(drawn, labels)


def test_objects_of_qupath_have_class_colour_and_number(tmp_path: Path) -> None:
    labels = np.array([[7, 0, 70000], [7, 0, 70000], [0, 0, 0], [7, 0, 0]], np.uint32)
    find_label_format("geojson").write(tmp_path / "l.geojson", labels, plane_image(labels), NUCLEI)
    first, second = json.loads((tmp_path / "l.geojson").read_text())["features"]
    assert first["geometry"]["type"] == "MultiPolygon"  # one object of two pieces stays one object
    assert second["geometry"] == {"type": "Polygon", "coordinates": [[[2, 0], [3, 0], [3, 2], [2, 2], [2, 0]]]}
    assert second["properties"]["objectType"] == "detection"
    assert second["properties"]["name"] == "70000"
    assert second["properties"]["classification"] == {"name": "nucleus", "color": [0, 158, 115]}
    assert first["id"] != second["id"]


def test_a_keyhole_has_the_area_of_its_region() -> None:
    for labels in PLANES.values():
        for region in trace_regions(labels):
            area = compute_area(region.outer) + sum(map(compute_area, region.holes))
            assert compute_area(join_holes(region)) == area


@pytest.mark.parametrize("kind", ["coco", "coco-polygons", "geojson", "png-palette", "png"])
def test_a_volume_is_refused_by_formats_of_planes(tmp_path: Path, kind: str) -> None:
    image = Image(np.zeros((2, 3, 4), np.uint8), "ZYX")
    with pytest.raises(MedSegError, match="is a volume"):
        find_label_format(kind).write(tmp_path / "l.png", np.ones((2, 3, 4), np.uint8), image, LUNGS)


def test_a_palette_shows_the_colours_of_the_task_and_refuses_more_than_it_has(tmp_path: Path) -> None:
    from PIL import Image as Picture

    labels = PLANES["hole"]
    write = find_label_format("png-palette").write
    write(tmp_path / "l.png", labels, plane_image(labels), LUNGS)
    with Picture.open(tmp_path / "l.png") as seen:
        np.testing.assert_array_equal(np.asarray(seen), labels)
        assert np.asarray(seen.convert("RGB"))[labels == 1].tolist()[0] == [0xE6, 0x9F, 0x00]
        assert "lungs-unet@4" in seen.text["Description"]
    many = np.arange(300, dtype=np.uint16).reshape(15, 20)
    with pytest.raises(MedSegError, match="255 colours, but slide has the value 299"):
        write(tmp_path / "m.png", many, plane_image(many), NUCLEI)
