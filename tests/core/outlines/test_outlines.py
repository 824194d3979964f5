"""Outlines of other programs become labels: every pixel counted."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from skimage.draw import polygon

from napari_medseg.core.errors import GridMismatchError, MedSegError
from napari_medseg.core.outlines import objects, pixel_runs
from napari_medseg.core.outlines.aperio import read_aperio
from napari_medseg.core.outlines.coco import parse_run_lengths, read_coco
from napari_medseg.core.outlines.objects import AnnotatedObject, rasterise_labels


def square(y: float, x: float, side: float) -> list[float]:
    """COCO's x, y, x, y ..."""
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def coco(folder: Path, annotations: list[dict[str, object]]) -> Path:
    path = folder / "annotations.json"
    content = {
        "info": {},
        "images": [
            {"id": 7, "file_name": "set/a.png", "height": 40, "width": 60},
            {"id": 8, "file_name": "b.png", "height": 40, "width": 60},
        ],
        "annotations": [{"id": n, "iscrowd": 0, **one} for n, one in enumerate(annotations)],
        "categories": [{"id": 5, "name": "cell"}, {"id": 2, "name": "vessel"}],
    }
    path.write_text(json.dumps(content))
    return path


def test_polygons_have_as_many_pixels_as_their_area_and_later_ones_lie_on_top(tmp_path: Path) -> None:
    path = coco(
        tmp_path,
        [
            {"image_id": 7, "category_id": 5, "segmentation": [square(10, 20, 10), square(30, 50, 4)]},
            {"image_id": 7, "category_id": 2, "segmentation": [square(15, 25, 10)]},
        ],
    )
    found = read_coco(path)
    assert found.categories == ("vessel", "cell")
    assert [(picture.file_name, picture.shape, len(picture.objects)) for picture in found.images] == [
        ("a.png", (40, 60), 2),
        ("b.png", (40, 60), 0),
    ]
    labels = rasterise_labels(found.images[0].objects, (40, 60), {"cell": 1, "vessel": 2})
    assert np.bincount(labels.ravel()).tolist() == [2400 - 75 - 16 - 100, 75 + 16, 100]
    assert labels[10, 20] == labels[19, 24] == 1
    assert labels[9, 20] == labels[10, 30] == 0
    numbered = rasterise_labels(found.images[0].objects, (40, 60), None)
    assert numbered.max() == 2


def test_runs_go_down_the_columns_and_may_be_compressed(tmp_path: Path) -> None:
    # Two columns of three rows; the object is the middle of the first.
    small = AnnotatedObject("cell", run_lengths=parse_run_lengths([1, 1, 4], (3, 2)))
    np.testing.assert_array_equal(rasterise_labels([small], (3, 2), None), [[0, 0], [1, 0], [0, 0]])
    counts = [5, 3, 37, 3, 2352]
    expected = np.zeros((40, 60), bool)
    expected[5:8, 0] = expected[5:8, 1] = True
    path = coco(
        tmp_path,
        [
            {"image_id": 7, "category_id": 5, "segmentation": {"size": [40, 60], "counts": counts}},
            {"image_id": 7, "category_id": 5, "segmentation": {"size": [40, 60], "counts": compressed(counts)}},
        ],
    )
    for outline in read_coco(path).images[0].objects:
        np.testing.assert_array_equal(rasterise_labels([outline], (40, 60), None), expected)


def compressed(counts: list[int]) -> str:
    """The other way round, as its description says: differences from the third on, five bits at a time."""
    text = ""
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits, number = number & 0x1F, number >> 5
            more = number != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
    return text


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"size": [40, 60], "counts": [5, 3]}, "annotation 0 is damaged: the runs cover 8 pixels of 2400"),
        ({"size": [40, 60], "counts": "~~"}, "is damaged: '~' is not a valid character"),
        ({"size": [0, 60], "counts": [0]}, "holds no COCO annotations"),
        ({"size": [40, 60], "counts": "o" * 100_000}, "a run length has too many characters"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "an image of 1000000000 x 1000000000 pixels is too large"),
        ([[1.0, 2.0, 3.0]], "annotation 0 is damaged"),
        ([[1.0, 2.0, float("nan"), 4.0, 5.0, 6.0]], "annotation 0 is damaged: a corner is not a finite number"),
    ],
)
def test_damaged_masks_are_named(tmp_path: Path, segmentation: object, said: str) -> None:
    path = coco(tmp_path, [{"image_id": 7, "category_id": 5, "segmentation": segmentation}])
    with pytest.raises(MedSegError, match=said):
        read_coco(path)


def test_an_annotation_of_no_picture_is_named(tmp_path: Path) -> None:
    path = coco(tmp_path, [{"image_id": 9, "category_id": 5, "segmentation": []}])
    with pytest.raises(MedSegError, match="annotation 0 refers to an image"):
        read_coco(path)


def test_masks_of_a_huge_picture_take_no_memory_until_they_are_drawn(tmp_path: Path) -> None:
    side = 16_000
    mask = {"size": [side, side], "counts": compressed([0, side * side])}
    path = coco(tmp_path, [{"image_id": 7, "category_id": 5, "segmentation": mask}] * 50)
    tracemalloc.start()
    found = read_coco(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    with pytest.raises(GridMismatchError, match="16000 x 16000 pixels, but the image has 60 x 40"):
        rasterise_labels(found.images[0].objects, (40, 60), None)


def test_objects_are_drawn_where_they_lie_and_not_on_pictures_of_their_own() -> None:
    corners = np.array([[0, 0], [0, 8], [8, 8], [8, 0]], float)
    places = [np.array([y, x], float) for y in range(0, 2000, 40) for x in range(0, 2000, 40)]
    tracemalloc.start()
    labels = rasterise_labels([AnnotatedObject("cell", (corners + place,)) for place in places], (2000, 2000), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], [64] * 2500)
    assert peak < 6 * labels.nbytes  # pixel indices of 1,000 objects at a time


def test_polygons_cover_the_pixels_that_point_in_polygon_covers() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        ring = rng.integers(-10, 60, (rng.integers(3, 9), 2)) + rng.random(2)  # also outside, and crossing themselves
        expected = np.zeros((40, 48), bool)
        expected[polygon(ring[:, 0] - 0.5, ring[:, 1] - 0.5, shape=expected.shape)] = True
        np.testing.assert_array_equal(rasterise_labels([AnnotatedObject("", (ring,))], (40, 48), None) > 0, expected)


def test_a_border_of_very_many_crossings_is_drawn_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    zigzag = np.array([[500.0 * (n % 2), n] for n in range(101)] + [[600, 100], [600, 0]])
    at_once = rasterise_labels([AnnotatedObject("", (zigzag,))], (600, 100), None)
    monkeypatch.setattr(pixel_runs, "MAX_CROSSINGS_AT_ONCE", 1000)
    monkeypatch.setattr(pixel_runs, "MAX_PIXELS_AT_ONCE", 1000)
    np.testing.assert_array_equal(rasterise_labels([AnnotatedObject("", (zigzag,))], (600, 100), None), at_once)


@pytest.mark.parametrize("as_masks", [False, True])
def test_holes_and_later_objects_keep_their_order_across_portions(
    monkeypatch: pytest.MonkeyPatch, as_masks: bool
) -> None:
    def make(begin: int, end: int, *, is_hole: bool = False) -> AnnotatedObject:
        """An object over whole columns."""
        if as_masks:
            lengths = parse_run_lengths([4 * begin, 4 * (end - begin), 4 * (10 - end)], (4, 10))
            return AnnotatedObject("cell", run_lengths=lengths, is_hole=is_hole)
        ring = np.array([[0, begin], [4, begin], [4, end], [0, end]], float)
        return AnnotatedObject("cell", (ring,), is_hole=is_hole)

    outlines = [make(0, 8), make(2, 4), make(3, 6, is_hole=True), make(5, 7)]
    for size in (1, 2, 100):
        monkeypatch.setattr(objects, "MAX_OBJECTS_AT_ONCE", size)
        labels = rasterise_labels(outlines, (4, 10), None)
        np.testing.assert_array_equal(labels, [[1, 1, 2, 0, 0, 3, 3, 1, 0, 0]] * 4)


def region(points: list[tuple[float, float]], negative: int = 0) -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for y, x in points)
    return f'<Region Id="1" NegativeROA="{negative}"><Vertices>{vertices}</Vertices></Region>'


def test_regions_of_monuseg_are_numbered_and_holes_cut_out(tmp_path: Path) -> None:
    box = [(5, 5), (5, 15), (15, 15), (15, 5)]
    inner = [(8, 8), (8, 10), (10, 10), (10, 8)]
    other = [(20, 20), (20, 24), (24, 24), (24, 20)]
    body = region(box) + region(inner, negative=1) + region(other)
    path = tmp_path / "slide.xml"
    path.write_text(
        f'<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="nuclei"><Regions>{body}</Regions></Annotation>'
        "</Annotations>"
    )
    outlines = read_aperio(path)
    assert [outline.name for outline in outlines] == ["nuclei"] * 3
    labels = rasterise_labels(outlines, (30, 30), None)
    assert np.bincount(labels.ravel()).tolist() == [900 - 96 - 16, 96, 16]


@pytest.mark.parametrize("text", ["<html/>", "<Annotations>", '<!DOCTYPE x [<!ENTITY a "b">]><Annotations/>'])
def test_other_xml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "slide.xml"
    path.write_text(text)
    with pytest.raises(MedSegError, match=r"slide\.xml"):
        read_aperio(path)
