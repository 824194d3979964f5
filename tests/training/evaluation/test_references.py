"""References as public data sets have them."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from training_phantoms import SIDE, phantom

from napari_medseg.core.tasks.custom_task import make_custom_task
from training.evaluation.evaluate import evaluate_cases, find_cases, load_case, make_folder_source
from training.from_folders.mask_reading import make_label_reader
from training.from_folders.mask_values import MaskEncoding


def test_references_are_paired_and_read_as_masks_of_a_training(tmp_path: Path) -> None:
    """MoNuSeg has Aperio XML, other sets words in names or one COCO file: what a training reads can be scored, too."""
    task = make_custom_task("cells", ["nucleus"], kind="grey", instances=True)
    truth = np.zeros((2, SIDE, SIDE), np.uint8)
    truth[:, 5:11, 4:10], truth[1, 20:26, 30:36] = 1, 2
    rings = [[(4, 5), (10, 5), (10, 11), (4, 11)], [(30, 20), (36, 20), (36, 26), (30, 26)]]
    region = "<Region><Vertices>{}</Vertices></Region>".format
    places = {name: tmp_path / name for name in ("images", "xml", "words", "predicted")}
    for path in places.values():
        path.mkdir()
    for number, name in enumerate(("IMG_1", "IMG_2")):
        tifffile.imwrite(places["images"] / f"{name}.tif", phantom(number)[0])
        tifffile.imwrite(places["words"] / f"{name.replace('IMG', 'MASK')}.tif", truth[number])
        tifffile.imwrite(places["predicted"] / f"{name}_labels.tif", truth[1])
        drawn = "".join(region("".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ring)) for ring in rings[: number + 1])
        (places["xml"] / f"{name}.xml").write_text(f"<Annotations><Annotation>{drawn}</Annotation></Annotations>")
    coco = {
        "images": [{"id": n, "file_name": f"data/IMG_{n}.tif", "height": SIDE, "width": SIDE} for n in (1, 2)],
        "annotations": [
            {"image_id": n, "category_id": 1, "segmentation": [np.array(ring, float).ravel().tolist()]}
            for n in (1, 2)
            for ring in rings[:n]
        ],
        "categories": [{"id": 1, "name": "nucleus"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    read = make_label_reader(MaskEncoding(task))
    for number, count in ((1, 1), (2, 2)):
        for one in range(1, count + 1):
            (tmp_path / "objects" / f"IMG_{number}").mkdir(parents=True, exist_ok=True)
            path = tmp_path / "objects" / f"IMG_{number}" / f"nucleus_{one}.tif"
            tifffile.imwrite(path, (truth[number - 1] == one).astype(np.uint8))
    for references in (places["xml"], places["words"], tmp_path / "coco.json", tmp_path / "objects"):
        cases = find_cases(places["images"], references)
        scores = [
            one.score.objects
            for one in evaluate_cases(make_folder_source(places["predicted"]), cases, task, read_labels=read)
        ]
        assert [case.name for case in cases] == ["IMG_1", "IMG_2"]
        assert [one.aji for one in scores if one is not None] == [0.5, 1.0], references.name


@pytest.mark.parametrize("ending", ["", ".ome"])
def test_references_in_folders_are_read_as_they_were_paired(tmp_path: Path, ending: str) -> None:
    """Folders were read again for each image alone: `1/2.tif` was taken as a mask of image 2, not of image 1."""
    task = make_custom_task("cells", ["nucleus"], kind="grey", instances=True)
    for folder in ("images", "predicted"):
        (tmp_path / folder).mkdir()
    names = [f"{number}{ending}" for number in range(1, 6)]
    for number, name in enumerate(names):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", phantom(number)[0])
        (tmp_path / "objects" / name).mkdir(parents=True)
        truth = np.zeros((SIDE, SIDE), np.uint8)
        for one in (1, 2):
            drawn = np.zeros((SIDE, SIDE), np.uint8)
            drawn[20 * one : 20 * one + 6, 5 * number : 5 * number + 6] = 1
            truth[drawn > 0] = one
            tifffile.imwrite(tmp_path / "objects" / name / f"{one}.tif", drawn)
        tifffile.imwrite(tmp_path / "predicted" / f"{name}.tif", truth)
    read = make_label_reader(MaskEncoding(task))
    cases = find_cases(tmp_path / "images", tmp_path / "objects")
    source = make_folder_source(tmp_path / "predicted")
    scores = [one.score for one in evaluate_cases(source, cases, task, read_labels=read)]
    assert [(one.name, one.objects.aji if one.objects else 0) for one in scores] == [(name, 1.0) for name in names]


def test_a_coco_file_is_searched_for_the_name_that_was_paired(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.ome.tif", phantom(0)[0])
    ring = [4, 5, 10, 5, 10, 11, 4, 11]
    coco = {
        "images": [{"id": 1, "file_name": "a.ome.tif", "height": SIDE, "width": SIDE}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [ring]}],
        "categories": [{"id": 1, "name": "nucleus"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    encoding = MaskEncoding(make_custom_task("cells", ["nucleus"], kind="grey", instances=True))
    (case,) = find_cases(tmp_path / "images", tmp_path / "coco.json")
    loaded = load_case(case, make_label_reader(encoding))
    assert (case.name, loaded.image.name) == ("a.ome", "a")
    assert np.count_nonzero(loaded.reference) == 36
