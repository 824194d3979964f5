"""Anybody's images and masks: what fits, everything that does not, and a first model out of it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import load_version
from training.__main__ import main as train_run
from training.data.sample_reader import read_item
from training.from_folders.default_recipe import (
    DataStats,
    RecipeOverrides,
    add_default_preprocessing,
    make_default_recipe,
    read_recipe_overrides,
)
from training.from_folders.folder_data import FolderData, check_folder_data
from training.from_folders.folder_run import evaluate_folder_run, fill_run, make_folder_task
from training.from_folders.mask_pairing import format_mismatches, read_image_and_labels
from training.from_folders.mask_values import MaskEncoding
from training.from_folders.name_matching import pair_names
from training.run_folder import Compared, Notice, read_events

SHAPE = (48, 64)
AT_RANDOM = RecipeOverrides(weights="none")


def field_labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:38, 6:26], labels[10:38, 38:58] = 1, 2
    return labels


def grey(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    pixels = rng.integers(150, 200, SHAPE)
    pixels[field_labels() == 1] = 20
    pixels[field_labels() == 2] = 90
    return pixels.astype(np.uint8)


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(pixels).save(path)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., FolderData]:
    """Folders `images` and `masks` of the test, as data with two labels."""

    def make(labels: tuple[str, ...] = ("right_lung", "left_lung"), **changes: object) -> FolderData:
        task = make_folder_task("chest", labels, tmp_path / "images")
        given = {"name": "chest", "images": tmp_path / "images", "masks": tmp_path / "masks"}
        said = {key: changes.pop(key) for key in ("values", "binarise", "ignore") if key in changes}
        meaning = MaskEncoding(task, **said)
        return FolderData(**{**given, "encoding": meaning, **changes})

    return make


def fill_folders(folder: Path, n_images: int, ending: str = "_mask") -> None:
    for number in range(n_images):
        put(folder / "images" / f"p{number // 2}_{number}.png", grey(number))
        put(folder / "masks" / f"p{number // 2}_{number}{ending}.png", field_labels())


@pytest.mark.parametrize(
    ("images", "masks", "pairs"),
    [
        (["a", "b"], ["b", "a"], {"a": "a", "b": "b"}),
        (["a", "b"], ["a_mask", "B-seg"], {"a": "a_mask", "b": "B-seg"}),
        (["case_0000", "case_2_0000"], ["case", "case_2"], {"case_0000": "case", "case_2_0000": "case_2"}),
        (["f_0000", "f_0001"], ["f_0001", "f_0000"], {"f_0000": "f_0000", "f_0001": "f_0001"}),
        (["ct_img", "other"], ["ct_labels"], {"ct_img": "ct_labels"}),
        (["a_img", "a_ct"], ["a_seg"], {}),
        (["IMG_1", "IMG_2"], ["MASK_2", "MASK_1"], {"IMG_1": "MASK_1", "IMG_2": "MASK_2"}),  # lungs of Kaggle
        (
            ["volume-0", "img0001"],
            ["segmentation-0", "label0001"],
            {"volume-0": "segmentation-0", "img0001": "label0001"},
        ),
        (["tr_im"], ["tr_mask"], {"tr_im": "tr_mask"}),
        (["image", "segment_1"], ["masked_1", "label"], {}),
        (["mask"], ["mask"], {"mask": "mask"}),
        (["free_1", "1"], ["label-free_1", "seg_1"], {"1": "seg_1"}),
    ],
)
def test_names_are_paired(images: list[str], masks: list[str], pairs: dict[str, str]) -> None:
    assert pair_names(images, masks) == pairs


def test_every_mismatch_is_listed_at_once(tmp_path: Path, own: Callable[..., FolderData]) -> None:
    fill_folders(tmp_path, 4)
    put(tmp_path / "images" / "lonely.png", grey(7))
    put(tmp_path / "masks" / "orphan_mask.png", field_labels())
    put(tmp_path / "images" / "small.png", grey(8))
    put(tmp_path / "masks" / "small.png", field_labels()[:20])
    put(tmp_path / "images" / "odd.png", grey(9))
    put(tmp_path / "masks" / "odd.png", field_labels() * 7)
    put(tmp_path / "images" / "blank.png", grey(10))
    put(tmp_path / "masks" / "blank.png", np.zeros(SHAPE, np.uint8))
    put(tmp_path / "images" / "torn.png", grey(11))
    (tmp_path / "masks" / "torn.png").write_bytes(b"\x89PNG torn")
    put(tmp_path / "images" / "turned.png", grey(12))
    put(tmp_path / "masks" / "turned.png", field_labels()[:, ::-1].copy())
    for suffix in (".png", ".tif"):
        put(tmp_path / "images" / f"twice{suffix}", grey(13))
    found = check_folder_data(own(group_by="(p[0-9]|blank)"))
    kinds = {mismatch.kind: mismatch.name for mismatch in found.mismatches}
    assert kinds == {
        "double": "twice",
        "missing mask": "lonely",
        "missing image": "orphan_mask",
        "other size": "small",
        "unknown value": "odd",
        "empty": "blank",
        "unreadable": "torn",
        "sides": "turned",
    }
    assert [mismatch.kind for mismatch in found.mismatches if not mismatch.blocking] == ["empty"]
    assert sorted(case.name for case in found.cases) == ["blank", "p0_0", "p0_1", "p1_2", "p1_3"]
    text = "\n".join(format_mismatches(found.mismatches))
    assert "the values 7, 14 are unknown; known are 0 (background), 1 (right lung), 2 (left lung)" in text
    assert "exchange their names in --labels" in text
    without_group = [
        mismatch for mismatch in check_folder_data(own(group_by="p[0-9]")).mismatches if mismatch.kind == "group"
    ]
    assert [mismatch.name for mismatch in without_group] == ["blank"]


def test_black_and_white_masks_are_one_label_and_other_values_can_be_named(
    tmp_path: Path, own: Callable[..., FolderData]
) -> None:
    put(tmp_path / "images" / "a.png", grey(1))
    put(tmp_path / "masks" / "a.png", (field_labels() > 0).astype(np.uint8) * 255)
    (case,) = check_folder_data(own(("lung",))).cases
    assert case.facts is not None
    assert tuple(case.facts.content.counts) == (1,)
    put(tmp_path / "masks" / "a.png", field_labels() * 100)
    assert [mismatch.kind for mismatch in check_folder_data(own()).mismatches] == ["unknown value"]
    (case,) = check_folder_data(own(values=((100,), (200,)))).cases
    assert tuple(case.facts.content.counts) == (1, 2)


def test_one_folder_may_hold_both(tmp_path: Path, own: Callable[..., FolderData]) -> None:
    for number in range(2):
        put(tmp_path / "images" / f"a{number}.png", grey(number))
        put(tmp_path / "images" / f"a{number}_seg.png", field_labels())
    found = check_folder_data(own(masks=tmp_path / "images"))
    assert [case.name for case in found.cases] == ["a0", "a1"]
    assert found.mismatches == ()


def test_volumes_of_nifti_are_paired(tmp_path: Path, own: Callable[..., FolderData]) -> None:
    volume = Image(np.stack([grey(n) for n in range(3)]), "ZYX", (5.0, 0.5, 0.5))
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    formats.write_image(tmp_path / "images" / "scan_0000.nii.gz", volume)
    formats.write_labels(tmp_path / "masks" / "scan.nii.gz", np.stack([field_labels()] * 3), volume)
    found = check_folder_data(own())
    assert found.mismatches == ()
    assert found.cases[0].facts.shape == (3, *SHAPE)


def test_coco_categories_become_labels_and_other_ones_are_named(tmp_path: Path, own: Callable[..., FolderData]) -> None:
    put(tmp_path / "images" / "a.png", grey(1))
    put(tmp_path / "images" / "b.png", grey(2))
    box = [6, 10, 26, 10, 26, 38, 6, 38]
    content = {
        "images": [{"id": n, "file_name": f"{name}.png", "height": 48, "width": 64} for n, name in enumerate("ab")],
        "annotations": [
            {"image_id": 0, "category_id": 1, "segmentation": [box]},
            {"image_id": 1, "category_id": 2, "segmentation": [box]},
        ],
        "categories": [{"id": 1, "name": "Right-Lung"}, {"id": 2, "name": "heart"}],
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    found = check_folder_data(own(masks=path))
    assert [case.name for case in found.cases] == ["a"]
    assert [(mismatch.kind, mismatch.name) for mismatch in found.mismatches] == [
        ("unknown value", "b"),
        ("does not occur", ""),
    ]
    assert "has the categories heart, which are not labels of the task" in found.mismatches[0].text


def test_monuseg_xml_gives_each_nucleus_a_number(tmp_path: Path) -> None:
    put(tmp_path / "images" / "slide.png", np.stack([grey(1)] * 3, axis=-1) + np.array([9, 0, 9], np.uint8))
    regions = "".join(
        f'<Region><Vertices><Vertex X="{x}" Y="5"/><Vertex X="{x + 6}" Y="5"/><Vertex X="{x + 6}" Y="11"/>'
        f'<Vertex X="{x}" Y="11"/></Vertices></Region>'
        for x in (4, 20)
    )
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "slide.xml").write_text(f"<Annotations><Annotation>{regions}</Annotation></Annotations>")
    meaning = MaskEncoding(make_custom_task("cells", ["nucleus"], kind="histology", instances=True))
    data = FolderData("cells", tmp_path / "images", tmp_path / "masks", meaning)
    found = check_folder_data(data)
    assert found.mismatches == ()
    fill_run(data, found.cases, [], tmp_path / "run", AT_RANDOM)
    labels = formats.read_labels(tmp_path / "run" / "labels" / "cells" / "slide.tif")
    assert np.bincount(labels.ravel()).tolist() == [48 * 64 - 72, 36, 36]


def test_one_patient_in_five_is_held_out_and_one_in_five_of_the_others_validates(
    tmp_path: Path, own: Callable[..., FolderData]
) -> None:
    fill_folders(tmp_path, 20)
    data = own(group_by="p[0-9]+")
    fill_run(data, check_folder_data(data).cases, [], tmp_path / "run", AT_RANDOM)
    snapshot = read_snapshot(tmp_path / "run" / "snapshot.json")
    groups = {role: {item.group for item in snapshot.filter_by_role(role)} for role in Role}
    assert {role: len(found) for role, found in groups.items() if found} == {
        Role.TRAIN: 7,
        Role.VALIDATE: 1,
        Role.HOLD_OUT: 2,
    }
    snapshot.check_split()


def test_defaults_grow_with_the_data_and_changes_change_only_what_they_name(tmp_path: Path) -> None:
    task = TASKS["lungs"]
    small = DataStats(n_train=4, n_validate=0, n_planes=4, side_px=100, look="grey")
    large = DataStats(n_train=800, n_validate=200, n_planes=800, side_px=512, look="grey")
    few, many = (make_default_recipe(task, "chest", sizes, RecipeOverrides()) for sizes in (small, large))
    n_steps = [each.schedule.n_epochs * each.schedule.steps_per_epoch for each in (few, many)]
    assert n_steps[0] < n_steps[1]
    assert (few.data.patch_px, many.data.patch_px) == (96, 256)
    assert (few.schedule.keep, many.schedule.keep) == ("last", "best")
    path = tmp_path / "changes.toml"
    path.write_text('weights = "none"\n[recipe]\nn_epochs = 3\n[architecture]\nencoder = "resnet18"\noptions = {}\n')
    changes = read_recipe_overrides(path)
    assert make_default_recipe(task, "chest", small, changes).schedule.n_epochs == 3
    in_full = add_default_preprocessing(changes, task, small)
    assert in_full == changes.model_copy(update={"preprocessing": {"max_side_px": 512}})
    stained = large.model_copy(update={"look": "stained"})
    assert add_default_preprocessing(changes, task, stained).preprocessing == {"max_side_px": 1024}
    assert add_default_preprocessing(changes, TASKS["nuclei"], stained).preprocessing["max_side_px"] > 4096
    named = changes.model_copy(update={"preprocessing": {"max_side_px": 320}})
    assert add_default_preprocessing(named, task, small) == named
    with pytest.raises(MedSegError, match="these changes of the recipe are invalid: n_epoch: Extra inputs"):
        make_default_recipe(task, "chest", small, RecipeOverrides(recipe={"n_epoch": 3}))
    path.write_text("learning_rate = 3")
    with pytest.raises(MedSegError, match=r"not a valid recipe file: learning_rate: Extra.*keys are architecture"):
        read_recipe_overrides(path)


class Counts:
    """How often images are read from a folder, and how often each is predicted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.reads: Counter[str] = Counter()
        self.predictions: Counter[str] = Counter()
        read, predict = formats.read, Predictor.predict

        def count_read(path: Path, **options: object) -> Image:
            self.reads[path.stem] += path.parent == folder
            return read(path, **options)

        def count_prediction(self_: Predictor, image: Image, *options: object, **more: object) -> Iterator[object]:
            self.predictions[image.sources[0].stem] += 1
            return predict(self_, image, *options, **more)

        monkeypatch.setattr(formats, "read", count_read)
        monkeypatch.setattr(Predictor, "predict", count_prediction)


def train_and_evaluate(run_dir: Path) -> ModelCard:
    assert train_run([str(run_dir)]) == 0
    return evaluate_folder_run(run_dir)


def test_a_first_model_is_trained_and_can_be_opened(
    tmp_path: Path, own: Callable[..., FolderData], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_folders(tmp_path, 12)
    data = own(group_by="p[0-9]+", hold_out=("p1",))
    found = check_folder_data(data)
    small = {"n_epochs": 1, "steps_per_epoch": 2, "batch_size": 2, "patch_px": 64, "precision": "fp32"}
    changes = RecipeOverrides(
        weights="none",
        recipe=small,
        preprocessing={"min_side_px": 64},
        architecture={"options": {"decoder_channels": [16] * 5}},
    )
    run_dir = tmp_path / "run"
    base = fill_run(data, found.cases, [], run_dir, changes)
    assert base.card.own_task == data.encoding.task
    snapshot = read_snapshot(run_dir / "snapshot.json")
    assert {item.name for item in snapshot.filter_by_role(Role.HOLD_OUT)} == {"chest/p1_2", "chest/p1_3"}
    counts = Counts(monkeypatch, tmp_path / "images")
    card = train_and_evaluate(run_dir)
    assert counts.predictions == {"p1_2": 1, "p1_3": 1}, "an empty answer is what a first model has to beat"
    validating = {Path(item.image).stem for item in snapshot.filter_by_role(Role.VALIDATE)}
    assert len(validating) == 2
    twice = {"p1_2", "p1_3", *validating}
    wanted = {stem: 2 if stem in twice else 1 for stem in (f"p{n // 2}_{n}" for n in range(12))}
    assert counts.reads == wanted, "a hold-out image before the training and behind it, one to validate for statistics"
    assert train_and_evaluate(run_dir) == card, "what is done is not done again"
    assert counts.predictions.total() == 2
    assert card.hold_out[-1].n_images == 2
    assert card.hold_out[-1].labels_by == "the masks that came with the images"
    assert card.calibration.n_images == 2
    assert card.task_definition.sides == (1, 2)
    assert card.lineage.n_corrections == 0
    assert card.lineage.began_with == "random weights, as asked for"
    said = [event.text for event, _ in read_events(run_dir) if isinstance(event, Notice)]
    assert said.count("the model begins with random weights, as asked for") == 1
    assert [source.n_images for source in card.training_data] == [10]
    network, _ = load_version(run_dir)
    assert not network.training
    compared = {event.case: event.new for event, _ in read_events(run_dir) if isinstance(event, Compared)}
    told = {image["name"]: image for image in json.loads((run_dir / "evaluation.json").read_text())["images"]}
    assert compared == {name: image["mean_dice"] for name, image in told.items()}
    assert card.hold_out[0].mean == pytest.approx(sum(compared.values()) / 2)
    assert "precision_right_lung" in told["chest/p1_2"]
    assert (run_dir / "report.html").read_text().count("<img") == 2
    assert (run_dir / "evaluation.html").read_text().count("<img") == 2
    assert (run_dir / "worst_case.png").exists()
    with pytest.raises(MedSegError, match="already contains a run"):
        fill_run(data, found.cases, [], run_dir)


def test_only_the_named_images_are_learnt_from(tmp_path: Path, own: Callable[..., FolderData]) -> None:
    fill_folders(tmp_path, 10)
    data = own(group_by="p[0-9]+", hold_out=("p1",), train_on=("p0_0", "p3_6"))
    fill_run(data, check_folder_data(data).cases, [], tmp_path / "run", AT_RANDOM)
    roles = [item.role for item in read_snapshot(tmp_path / "run" / "snapshot.json").items]
    assert sorted(roles) == [Role.HOLD_OUT] * 2 + [Role.TRAIN] * 2
    wrong = own(group_by="p[0-9]+", hold_out=("p9",))
    cases = check_folder_data(wrong).cases
    with pytest.raises(MedSegError, match=r"no groups or images \['p9'\] to hold out; groups are \['p0'"):
        fill_run(wrong, cases, [], tmp_path / "other", AT_RANDOM)


def test_what_nobody_decided_on_is_marked_and_neither_learnt_nor_judged(
    tmp_path: Path, own: Callable[..., FolderData]
) -> None:
    fill_folders(tmp_path, 10)
    mask = field_labels()
    mask[:, 48:] = 255
    put(tmp_path / "masks" / "p0_0_mask.png", mask)
    put(tmp_path / "masks" / "p0_1_mask.png", np.full(SHAPE, 255, np.uint8))
    assert {mismatch.name for mismatch in check_folder_data(own()).mismatches} == {"p0_0", "p0_1"}
    data = own(ignore=255)
    found = check_folder_data(data)
    assert [(mismatch.kind, mismatch.name) for mismatch in found.mismatches] == [("not looked at", "p0_1")]
    fill_run(data, found.cases, [], tmp_path / "run", AT_RANDOM)
    items = {item.name: item for item in read_snapshot(tmp_path / "run" / "snapshot.json").items}
    item = items["chest/p0_0"]
    assert item.ignored_value == 255
    _, labels, unseen = read_item(item, tmp_path / "run", data.encoding.task)
    assert (unseen == (mask == 255)).all()
    assert (labels == np.where(mask == 255, 0, mask)).all()


def test_anything_drawn_becomes_the_one_label_even_in_a_jpeg(tmp_path: Path, own: Callable[..., FolderData]) -> None:
    drawn = (field_labels() > 0).astype(np.uint8) * 255
    for number, name in enumerate(("a", "b", "c")):
        put(tmp_path / "images" / f"{name}.png", grey(number))
    (tmp_path / "masks").mkdir()
    Picture.fromarray(np.stack([drawn] * 3, axis=-1)).save(tmp_path / "masks" / "a.jpg", quality=60)
    put(tmp_path / "masks" / "b.png", np.stack([field_labels() * 30] * 3, axis=-1))
    put(tmp_path / "masks" / "c.png", np.stack([drawn, drawn, drawn // 2], axis=-1))
    assert {(miss.kind, miss.name) for miss in check_folder_data(own(("lung",))).blocking_mismatches} >= {
        ("unknown value", "a")
    }
    data = own(("lung",), binarise=True)
    found = check_folder_data(data)
    assert [(miss.kind, miss.name, miss.blocking) for miss in found.mismatches] == [
        ("soft borders", "a", False),
        ("unreadable", "c", True),
    ]
    assert "colour image" in found.mismatches[1].text
    for case in found.cases:
        _, labels = read_image_and_labels(case, data.encoding)
        assert (labels == (field_labels() > 0)).mean() > 0.99, case.name
        assert labels.max() == 1
