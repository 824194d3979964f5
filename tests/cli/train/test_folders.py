"""From folders of images and masks to a model that predicts, by commands alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core import formats
from napari_medseg.core.model_card import read_card
from napari_medseg.core.replay import read_replay_images
from napari_medseg.core.snapshot import Role, read_snapshot

pytestmark = pytest.mark.usefixtures("warm_trainings")
Call = Callable[..., tuple[int, str, str]]
SMALL = {
    "recipe": {"steps_per_epoch": 2, "batch_size": 2, "patch_px": 64},
    "preprocessing": {"min_side_px": 64, "max_side_px": 64},
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[object, ...]:
    """Ten pictures with masks whose labels have odd values, as arguments."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(10):
        Picture.fromarray(phantom(number).pixels).save(tmp_path / "images" / f"p{number}.png")
        Picture.fromarray(phantom_labels() * 100).save(tmp_path / "masks" / f"p{number}_mask.png")
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    return ("--images", tmp_path / "images", "--masks", tmp_path / "masks", "--registry", tmp_path / "registry")


def test_nothing_is_trained_while_anything_does_not_fit(
    medseg: Call, folders: tuple[object, ...], tmp_path: Path
) -> None:
    out_dir = tmp_path / "run"
    code, out, err = medseg("train", "folders", *folders, "--labels", "right_lung,left_lung", "--out", out_dir)
    assert (code, out) == (1, "")
    assert "unknown value: 10" in err
    assert "p3: the values 100, 200 are unknown" in err
    assert "--skip-mismatches" in err
    assert not out_dir.exists()
    code, out, _ = medseg(
        "train", "folders", *folders, "--labels", "right_lung,left_lung", "--values", "100,200", "--check"
    )
    assert code == 0
    assert out.startswith("10 patients: p0 (1), p1 (1), p2 (1)")
    assert out.endswith(" Held out: p0, p7\n10 pairs fit; nothing was trained.\n")
    for meaning in (("--values", "100+200"), ("--binarise",), ("--values", "100", "--ignore", 200)):
        code, out, _ = medseg("train", "folders", *folders, "--labels", "lung", *meaning, "--check")
        assert (code, out.splitlines()[-1]) == (0, "10 pairs fit; nothing was trained."), meaning
    code, out, err = medseg("train", "folders", *folders, "--labels", "right_lung,left_lung", "--check")
    assert (code, out.splitlines()[-1]) == (1, "0 pairs fit; nothing was trained.")
    assert "such as --values 100,200 for right lung, left lung" in err
    code, out, _ = medseg("train", "folders", *folders, "--labels", "lung", "--values", "7", "--check")
    assert (code, out.splitlines()[-1]) == (1, "0 pairs fit; nothing was trained.")
    for arguments, said in [
        ((), "what do the mask values mean"),
        (("--labels", "a,b", "--values", "1"), "names 1 values for 2 labels"),
        (("--labels", "a,b", "--values", "1,x"), "whole numbers, as in 31+32,40, not 'x'"),
        (("--labels", "a,b", "--values", "1+2,2"), "names [2] more than once"),
        (("--labels", "a,b", "--binarise"), "--binarise is for one label, but there are 2"),
        (("--labels", "a,b", "--ignore", "2"), "--ignore cannot be 2: 2 is a label"),
    ]:
        code, _, err = medseg("train", "folders", *folders, *arguments)
        assert (code, said in err) == (1, True), err


def test_slices_of_a_stack_are_kept_only_for_a_run(medseg: Call, tmp_path: Path) -> None:
    pixels = np.stack([phantom(number).pixels for number in range(6)])
    for name, array in (("a_im", pixels), ("a_mask", np.stack([phantom_labels()] * 6))):
        (tmp_path / name[2:]).mkdir()
        tifffile.imwrite(tmp_path / name[2:] / f"{name}.tif", array)
    folders = ("--images", tmp_path / "im", "--masks", tmp_path / "mask", "--registry", tmp_path / "registry")
    (tmp_path / "small.json").write_text(json.dumps({**SMALL, "weights": "none"}))
    how = ("--labels", "right_lung,left_lung", "--slices", "--out", tmp_path / "run")
    code, out, err = medseg("train", "folders", *folders, *how, "--check")
    assert (code, out.splitlines()[-1]) == (0, "6 pairs fit; nothing was trained."), err
    assert "Held out: a_im_00" in out
    assert not (tmp_path / "run").exists()
    code, _, err = medseg("train", "folders", *folders, *how, "--model", "nonsense", "--prepare")
    assert (code, "unknown architecture" in err) == (1, True)
    assert not (tmp_path / "run" / "slices").exists()
    own = (*how, "--recipe", tmp_path / "small.json", "--model", "conv_unet", "--prepare")
    assert medseg("train", "folders", *folders, *own)[0] == 0
    items = read_snapshot(tmp_path / "run" / "snapshot.json").items
    assert all((tmp_path / "run" / item.image).is_file() for item in items)
    assert {item.role for item in items} == {Role.TRAIN, Role.VALIDATE, Role.HOLD_OUT}
    assert read_card(tmp_path / "run" / "start" / "card.json").architecture.name == "conv_unet"
    code, _, err = medseg("train", "folders", *folders, *own)
    assert (code, "slices of another run" in err) == (1, True)
    assert all((tmp_path / "run" / item.image).is_file() for item in items), "the run keeps them"


def test_a_list_of_test_images_is_held_out(medseg: Call, folders: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("# of the authors\nimages/p3.png\np5\n\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("p8\r\n", encoding="utf-8")
    meaning = ("--labels", "right_lung,left_lung", "--values", "100,200", "--check")
    lists = ("--hold-out", tmp_path / "test.txt", "--validate", tmp_path / "val.txt")
    code, out, _ = medseg("train", "folders", *folders, *meaning, *lists)
    assert code == 0
    assert "Held out: p3, p5. To choose the best epoch: p8\n" in out
    code, _, err = medseg("train", "folders", *folders, *meaning, "--hold-out", tmp_path / "tset.txt")
    assert code == 1
    assert "cannot read" in err
    assert "tset.txt" in err
    (tmp_path / "empty.txt").write_text("# p3\n\n", encoding="utf-8")
    for option in ("--hold-out", "--validate"):
        code, _, err = medseg("train", "folders", *folders, *meaning, option, tmp_path / "empty.txt")
        assert (code, "names no patient and no image" in err) == (1, True), option
        code, _, err = medseg("train", "folders", *folders, *meaning, option, "p3,p33")
        assert (code, "there are no groups or images ['p33']" in err) == (1, True), option
    code, _, err = medseg("train", "folders", *folders, *meaning, "--hold-out", "~nobody,p3")
    assert (code, "there are no groups or images ['~nobody']" in err) == (1, True), "no folder of a user"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", "a"), "Missing option '--masks'"),
        (("--images", "a", "--masks", "b", "--labels", "a", "--task", "lungs"), "either --labels"),
        (("--images", "a", "--masks", "b", "--prepare", "--check"), "Give one of them"),
        (("--images", "a", "--masks", "b", "--preview", "a.json"), "does not end in .png"),
        (("--images", "a", "--masks", "b", "--promote"), "No such option"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    medseg: Call, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = medseg("train", "folders", *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_what_the_network_would_see_of_folders_is_shown_and_nothing_is_trained(
    medseg: Call, folders: tuple[object, ...], tmp_path: Path
) -> None:
    picture, run_dir = tmp_path / "batch.png", tmp_path / "run"
    meaning = ("--labels", "right_lung,left_lung", "--values", "100,200", "--recipe", tmp_path / "small.json")
    code, out, err = medseg("train", "folders", *folders, *meaning, "--out", run_dir, "--preview", picture)
    assert (code, out) == (0, f"{picture}\n"), err
    assert formats.read(picture).pixels.shape[1] == 1200
    assert not run_dir.exists()


def test_from_folders_to_a_model_that_predicts(medseg: Call, folders: tuple[object, ...], tmp_path: Path) -> None:
    run_dir, registry = tmp_path / "run", tmp_path / "registry"
    lonely = tmp_path / "images" / "lonely.png"
    Picture.fromarray(phantom(20).pixels).save(lonely)
    more = tmp_path / "more"
    more.mkdir()
    for number, name in ((7, "p7"), (0, "copy of p0"), (30, "p30"), (31, "p31")):
        Picture.fromarray(phantom(number).pixels).save(more / f"{name}.png")
    code, out, err = medseg(
        *(
            "train",
            "folders",
            *folders,
            "--labels",
            "right_lung,left_lung",
            "--values",
            "100,200",
            "--name",
            "my-chest",
        ),
        *("--epochs", 1, "--recipe", tmp_path / "small.json", "--out", run_dir, "--skip-mismatches", "--json"),
        *("--unlabelled", more),
    )
    assert code == 0, err
    unlabelled = read_snapshot(run_dir / "snapshot.json").filter_by_role(Role.UNLABELLED)
    assert [item.name for item in unlabelled] == ["unlabelled/p30", "unlabelled/p31"], "the others are held out"
    assert all(item.group.startswith("unlabelled/patient ") for item in unlabelled), "groups are hidden"
    learnt = read_card(run_dir / "card.json").training_data
    assert [(source.name, source.labels) for source in learnt][1:] == [("unlabelled", "none; consistency training")]
    assert len(json.loads((run_dir / "split.json").read_text())["unlabelled"]) == 2
    assert read_card(run_dir / "card.json").lineage.began_with == "lungs-unet@4"
    answer = json.loads(out)
    assert (answer["model"], answer["task"]) == ("my-chest@1", "my-chest")
    assert answer["hold_out"][0]["n_images"] == 2
    assert answer["use"] == f"medseg models add {run_dir} --promote"
    assert all(Path(page).is_file() for page in answer["reports"])
    assert json.loads((run_dir / "recipe.json").read_text())["schedule"]["n_epochs"] == 1
    code, out, _ = medseg("models", "add", run_dir, "--promote", "--registry", registry)
    assert (code, "my-chest@1 is added" in out) == (0, True)
    older = read_replay_images(registry / "my-chest" / "1")
    assert len(older) == len(read_snapshot(run_dir / "snapshot.json").filter_by_role(Role.TRAIN))
    assert all(image.is_available for image in older)
    where = ("--task", "my-chest", "--registry", registry)
    code, out, _ = medseg("predict", lonely, "-o", tmp_path / "labels", "--device", "cpu", "--json", *where)
    assert code == 0
    assert set(json.loads(out)["files"][0]["sizes"]) == {"right lung", "left lung"}
    assert formats.read_labels(tmp_path / "labels" / "lonely_labels.tif").shape == phantom(20).pixels.shape
    for path in sorted((tmp_path / "masks").iterdir()):
        mask = np.asarray(Picture.open(path)) // 100
        path.unlink()
        Picture.fromarray(mask).save(path.with_name(path.name.replace("_mask", "")))
    code, out, _ = medseg("evaluate", "--images", folders[1], "--labels", folders[3], "--json", *where)
    assert code == 0
    assert len(json.loads(out)["images"]) == 10
    code, _, err = medseg("models", "add", run_dir, "--promote", "--registry", registry)
    assert (code, "Add --reason" in err) == (1, True)
