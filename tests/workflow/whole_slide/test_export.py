"""GeoJSON, OME-Zarr, density and corrected fields of a whole slide."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from skimage.draw import polygon2mask
from whole_slide_phantoms import (
    UM_PER_PX,
    ClassModel,
    DiscModel,
    draw_discs,
    find_discs,
    plan_small,
    read_nuclei_card,
    write_slide,
)

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.workflow.whole_slide.corrections import CorrectedField, place_on_grid
from napari_medseg.workflow.whole_slide.density import compute_density
from napari_medseg.workflow.whole_slide.export import export_slide, open_to_read
from napari_medseg.workflow.whole_slide.grid import ModelGrid
from napari_medseg.workflow.whole_slide.prediction import begin_prediction, predict_chunks

HEIGHT, WIDTH, N_DISCS = 560, 590, 200


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return draw_discs(HEIGHT, WIDTH, N_DISCS)


@pytest.fixture
def prediction(tmp_path: Path, picture: NDArray[np.uint8]) -> Path:
    return predict(tmp_path, picture, DiscModel())


def predict(tmp_path: Path, picture: NDArray[np.uint8], model: DiscModel, **card: Any) -> Path:
    slide = open_slide(write_slide(tmp_path / "a.tif", picture))
    with begin_prediction(tmp_path / "predicted", plan_small(slide, read_nuclei_card(**card))) as whole:
        for _ in predict_chunks(whole, slide, model.predict):
            pass
    slide.close()
    return tmp_path / "predicted"


def read_features(folder: Path) -> list[dict[str, Any]]:
    content = json.loads((folder / "labels.geojson").read_text("utf-8"))
    assert content["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = content["features"]
    return features


def draw_features(features: list[dict[str, Any]], shape: tuple[int, int]) -> NDArray[np.uint32]:
    """Fill outlines as QuPath does, and number them."""
    labels = np.zeros(shape, np.uint32)
    for number, feature in enumerate(features, start=1):
        geometry = feature["geometry"]
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        for rings in polygons:
            shapes = [np.array(ring)[:, ::-1] - 0.5 for ring in rings]
            mask = np.logical_xor.reduce([polygon2mask(shape, ring) for ring in shapes])
            labels[mask] = number
    return labels


def test_geojson_of_objects_lies_on_the_slide(tmp_path: Path, prediction: Path, picture: NDArray[np.uint8]) -> None:
    files = export_slide(prediction, tmp_path / "out", ["geojson"])
    assert [file.name for file in files] == ["labels.geojson"]
    features = read_features(tmp_path / "out")
    assert len(features) == N_DISCS
    drawn = draw_features(features, (HEIGHT, WIDTH))
    assert np.array_equal(drawn > 0, find_discs(Image(picture, "YXC")) > 0)
    first = features[0]["properties"]
    assert first["objectType"] == "detection"
    assert first["classification"] == {"name": "nucleus", "color": [0, 158, 115]}
    area = np.count_nonzero(drawn == 1) * UM_PER_PX**2
    assert first["measurements"]["area µm^2"] == pytest.approx(area, abs=0.01)
    assert len({feature["id"] for feature in features}) == N_DISCS


def test_geojson_is_in_pixels_of_level_0_however_the_model_saw_it(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    slide = open_slide(write_slide(tmp_path / "a.tif", picture, um_per_px=0.125))
    with begin_prediction(tmp_path / "predicted", plan_small(slide, read_nuclei_card())) as whole:
        assert (whole.manifest.grid.level, whole.manifest.grid.downsample) == (1, 2.0)
        for _ in predict_chunks(whole, slide, DiscModel().predict):
            pass
    slide.close()
    export_slide(tmp_path / "predicted", tmp_path / "out", ["geojson"])
    centres = [
        np.mean(feature["geometry"]["coordinates"][0][:-1], axis=0) for feature in read_features(tmp_path / "out")
    ]
    expected = find_discs(Image(picture, "YXC"))
    assert len(centres) == N_DISCS
    assert all(expected[round(y), round(x)] for x, y in centres)


def test_classes_are_outlined_without_seams(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    task = make_custom_task("tissue", ["stroma", "nuclei"], kind="histology")
    predicted = predict(tmp_path, picture, ClassModel(), instances=None, task="tissue", own_task=task)
    export_slide(predicted, tmp_path / "out", ["geojson", "density"])
    features = read_features(tmp_path / "out")
    kinds = [feature["properties"]["classification"]["name"] for feature in features]
    assert kinds.count("stroma") == 1
    assert kinds.count("nuclei") == N_DISCS
    assert features[0]["properties"]["objectType"] == "annotation"
    with (tmp_path / "out" / "density.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pixel = (UM_PER_PX / 1000) ** 2
    n_dark = np.count_nonzero(picture[..., 0] < 150)
    assert sum(float(row["nuclei_mm2"]) for row in rows) == pytest.approx(n_dark * pixel, rel=1e-4)
    assert sum(float(row["stroma_mm2"]) for row in rows) == pytest.approx((HEIGHT * WIDTH - n_dark) * pixel, rel=1e-4)


def test_labels_are_ome_zarr_that_others_read(tmp_path: Path, prediction: Path, picture: NDArray[np.uint8]) -> None:
    export_slide(prediction, tmp_path / "out", ["ome-zarr"])
    group = zarr.open_group(str(tmp_path / "out" / "labels.zarr"), mode="r")
    (multiscale,) = group.attrs["multiscales"]
    assert multiscale["version"] == "0.4"
    assert [axis["name"] for axis in multiscale["axes"]] == ["y", "x"]
    assert multiscale["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [0.25, 0.25]}]
    assert "image-label" in group.attrs
    labels = group["0"][:]
    assert labels.dtype == np.uint32
    assert np.array_equal(labels > 0, find_discs(Image(picture, "YXC")) > 0)


def test_the_density_map_counts_each_object_once(tmp_path: Path, prediction: Path) -> None:
    with open_to_read(prediction) as whole:
        density = compute_density(whole, cell_um=25.0)
    assert density.counts.shape == (6, 6)
    assert density.counts.sum() == N_DISCS
    whole_mm2 = HEIGHT * WIDTH * (UM_PER_PX / 1000) ** 2
    assert density.predicted.sum() == pytest.approx(whole_mm2)
    assert f"{N_DISCS / whole_mm2:,.0f} per mm²" in density.text
    export_slide(prediction, tmp_path / "out", ["density"])
    shown = tifffile.imread(tmp_path / "out" / "density.tif")
    with (tmp_path / "out" / "density.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert shown.shape == (1, 1)
    assert shown[0, 0] == pytest.approx(N_DISCS / whole_mm2)
    assert rows[0]["objects"] == str(N_DISCS)
    assert float(rows[0]["objects_per_mm2"]) == pytest.approx(shown[0, 0], rel=1e-4)


def correct(y: int, x: int, labels: NDArray[Any], reviewed: NDArray[np.bool_] | None = None) -> CorrectedField:
    return CorrectedField(y, x, 1.0, labels, reviewed)


def read_labels(folder: Path) -> NDArray[np.uint32]:
    labels: NDArray[np.uint32] = zarr.open_group(str(folder / "labels.zarr"), mode="r")["0"][:]
    return labels


def test_corrected_fields_win(tmp_path: Path, prediction: Path, picture: NDArray[np.uint8]) -> None:
    labels = np.zeros((150, 160), np.uint16)
    labels[40:60, 40:60] = 1
    labels[40:60, 60:80] = 5
    export_slide(prediction, tmp_path / "out", ["geojson", "ome-zarr"], [correct(200, 210, labels)])
    shown = read_labels(tmp_path / "out")
    inside = shown[200:350, 210:370]
    assert np.array_equal(inside > 0, labels > 0)
    assert len(np.unique(inside)) == 3
    before = find_discs(Image(picture, "YXC"))
    gone = [int(one) for one in np.unique(before[200:350, 210:370]) if one]
    outside = np.ones(before.shape, bool)
    outside[200:350, 210:370] = False
    for number in gone:  # what a person deleted is gone, unless most of it lies outside
        share = np.count_nonzero((before == number) & ~outside) / np.count_nonzero(before == number)
        assert shown[(before == number) & outside].any() == (share <= 0.5)
    others = outside & ~np.isin(before, gone)
    assert np.array_equal(shown[others] > 0, before[others] > 0)
    assert len(read_features(tmp_path / "out")) == len(np.unique(shown)) - 1
    with open_to_read(prediction) as whole:  # the prediction itself stays what it was
        assert whole.table.n_corrected == 0
        assert np.array_equal(whole.labels.read((slice(0, HEIGHT), slice(0, WIDTH))) > 0, before > 0)


def test_a_nucleus_on_the_border_of_a_field_stays_one(
    tmp_path: Path, prediction: Path, picture: NDArray[np.uint8]
) -> None:
    before = find_discs(Image(picture, "YXC"))
    field = correct(200, 210, before[200:350, 210:370])  # accepted as it was
    export_slide(prediction, tmp_path / "out", ["ome-zarr", "geojson", "density"], [field])
    shown = read_labels(tmp_path / "out")
    pairs = np.unique(np.stack([shown[shown > 0], before[before > 0]]), axis=1)
    assert np.array_equal(shown > 0, before > 0)
    assert pairs.shape[1] == N_DISCS
    features = read_features(tmp_path / "out")
    assert len(features) == N_DISCS
    with (tmp_path / "out" / "density.csv").open(newline="") as file:
        assert sum(int(row["objects"]) for row in csv.DictReader(file)) == N_DISCS


def test_only_what_was_reviewed_is_replaced(tmp_path: Path, prediction: Path, picture: NDArray[np.uint8]) -> None:
    reviewed = np.zeros((100, 100), bool)
    reviewed[:, :50] = True
    export_slide(prediction, tmp_path / "out", ["ome-zarr"], [correct(0, 0, np.ones((100, 100), np.uint8), reviewed)])
    shown, before = read_labels(tmp_path / "out"), find_discs(Image(picture, "YXC"))
    assert (shown[:100, :50] > 0).all()
    assert np.array_equal(shown[:100, 62:] > 0, before[:100, 62:] > 0)


def test_fields_next_to_each_other_and_the_last_one_counts(tmp_path: Path, prediction: Path) -> None:
    fields = [
        correct(0, 0, np.full((50, 50), 3)),
        correct(0, 50, np.full((50, 50), 3)),
        correct(0, 25, np.zeros((50, 50))),
    ]
    export_slide(prediction, tmp_path / "out", ["ome-zarr"], fields)
    shown = read_labels(tmp_path / "out")[:50, :100]
    assert not shown[:, 25:75].any()
    assert len(np.unique(shown[:, :25])) == len(np.unique(shown[:, 75:])) == 1
    assert shown[0, 0] != shown[0, 99]


def test_a_field_of_another_level_lies_at_its_place() -> None:
    grid = ModelGrid(0, 1.0, 100, 100, 1.0, 0.25)
    labels = np.array([[1, 2], [3, 4]])
    placed = place_on_grid(CorrectedField(10, 20, 4.0, labels), grid)
    assert placed is not None
    box, drawn, reviewed = placed
    assert box == (slice(10, 18), slice(20, 28))
    assert np.array_equal(drawn, labels.repeat(4, axis=0).repeat(4, axis=1))
    assert reviewed.all()
    assert place_on_grid(CorrectedField(200, 20, 4.0, labels), grid) is None
    coarse = ModelGrid(1, 1.0, 50, 50, 2.0, 0.5)
    placed = place_on_grid(CorrectedField(10, 20, 1.0, np.arange(64).reshape(8, 8)), coarse)
    assert placed is not None
    assert placed[0] == (slice(5, 9), slice(10, 14))
    assert placed[1][0].tolist() == [9, 11, 13, 15]


def test_what_cannot_be_exported_is_said(tmp_path: Path, prediction: Path) -> None:
    with pytest.raises(MedSegError, match="unknown format of a slide 'svs'"):
        export_slide(prediction, tmp_path / "out", ["svs"])
    with pytest.raises(MedSegError, match="holds no prediction"):
        export_slide(tmp_path, tmp_path / "out", ["geojson"])
    with pytest.raises(MedSegError, match="holds a prediction"):
        export_slide(prediction, prediction, ["ome-zarr"])
    assert not list(tmp_path.glob("**/.writing*"))


def test_only_an_earlier_export_is_replaced(tmp_path: Path, prediction: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        export_slide(prediction, out, ["ome-zarr"])
    drawn = zarr.open_group(str(tmp_path / "drawn" / "labels.zarr"), mode="w", zarr_format=2)
    drawn.attrs["multiscales"] = [{"version": "0.4", "datasets": [{"path": "0"}]}]
    drawn.attrs["image-label"] = {"version": "0.4"}
    with pytest.raises(MedSegError, match="was not made by an export"):
        export_slide(prediction, tmp_path / "drawn", ["ome-zarr"])
    assert "image-label" in drawn.attrs
    (tmp_path / "second").mkdir()
    second = predict(tmp_path / "second", draw_discs(300, 300, 9), DiscModel())
    with pytest.raises(MedSegError, match="labels of another slide or task"):
        export_slide(second, out, ["ome-zarr"])
    shutil.copytree(prediction, tmp_path / "other")
    with pytest.raises(MedSegError, match="holds a prediction"):
        export_slide(prediction, tmp_path / "other", ["geojson"])


@pytest.mark.parametrize("name", ["geojson", "density", "ome-zarr"])
def test_labels_of_another_slide_are_not_replaced(tmp_path: Path, prediction: Path, name: str) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # the same slide again is no problem
        export_slide(prediction, out, [name])
    other = shutil.copytree(prediction, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text("utf-8"))
    manifest["slide"]["sha256_of_ends"] = "0" * 64  # of the same name and size, in another folder
    (other / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    before = sorted(path.stat().st_mtime_ns for path in out.rglob("*"))
    with pytest.raises(MedSegError, match="another slide or task"):
        export_slide(other, out, [name])
    assert sorted(path.stat().st_mtime_ns for path in out.rglob("*")) == before


def test_outlines_of_another_program_are_not_replaced(tmp_path: Path, prediction: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(MedSegError, match="not made by an export"):
        export_slide(prediction, tmp_path / "out", ["geojson"])
