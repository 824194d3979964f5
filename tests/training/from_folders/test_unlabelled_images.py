"""Folders of unlabelled images: found, kept apart from what judges the model, and learnt from in a run."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile
import torch
from pydantic import ValidationError
from training_phantoms import item, phantom, small_card, small_recipe

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot, write_snapshot
from training.evaluation.provenance import describe_split
from training.from_folders.base_model import make_run as make_base_run
from training.from_folders.base_recipe import FolderSource, ModelRecipe
from training.from_folders.unlabelled_images import group_unlabelled, keep_unlabelled_apart, list_unlabelled
from training.recipe import write_recipe
from training.run_setup import read_setup

MakeRun = Callable[..., Path]


def put_unlabelled(folder: Path, *seeds: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"u{seed}.tif" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        tifffile.imwrite(path, phantom(seed)[0])
    return paths


def unlabelled_item(path: Path) -> SnapshotItem:
    return SnapshotItem(name=path.stem, image=str(path), labels="", group=path.stem, role=Role.UNLABELLED)


def make_items(folder: Path, *unlabelled: Path) -> tuple[SnapshotItem, ...]:
    roles = [Role.TRAIN, Role.TRAIN, Role.TRAIN, Role.VALIDATE, Role.HOLD_OUT]
    labelled = [item(folder, f"{role}{n}", role, seed=n) for n, role in enumerate(roles)]
    return (*labelled, *map(unlabelled_item, unlabelled))


def test_copies_of_images_that_judge_are_left_out_and_said(tmp_path: Path) -> None:
    paths = put_unlabelled(tmp_path / "more", 0, 3, 4, 70, 71)  # 0 trains, 3 validates, 4 is held out
    (tmp_path / "more" / "broken.tif").write_bytes(b"no picture")
    broken = tmp_path / "more" / "broken.tif"
    snapshot = Snapshot(task="lungs", items=make_items(tmp_path, *paths, broken))
    kept, notices = keep_unlabelled_apart(snapshot, tmp_path, 500)
    assert [one.name for one in kept.filter_by_role(Role.UNLABELLED)] == ["u0", "u70", "u71"]
    assert len(kept.items) == 5 + 3
    assert any("show the same as images of the hold-out or of validation: u3, u4" in text for text in notices)
    assert any("cannot be read: broken" in text for text in notices)


def test_a_large_folder_is_thinned_before_it_is_read(tmp_path: Path) -> None:
    paths = put_unlabelled(tmp_path / "more", *range(75, 85))
    paths[0].write_bytes(b"no picture, and not read")
    snapshot = Snapshot(task="lungs", items=make_items(tmp_path, *paths))
    kept, notices = keep_unlabelled_apart(snapshot, tmp_path, 3)
    assert [one.name for one in kept.filter_by_role(Role.UNLABELLED)] == ["u76", "u80", "u83"]
    assert notices == ["3 of 10 unlabelled images are used (data.unlabelled.max_images)"]


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    snapshot = Snapshot(task="lungs", items=make_items(tmp_path, *put_unlabelled(tmp_path / "more", 4)))
    with pytest.raises(MedSegError, match=r"no unlabelled image is left: 1 .* show the same .*u4"):
        keep_unlabelled_apart(snapshot, tmp_path, 500)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MedSegError, match="contains no unlabelled image"):
        list_unlabelled(tmp_path / "empty", tmp_path / "masks")
    with pytest.raises(MedSegError, match="is not a folder"):
        list_unlabelled(tmp_path / "none", tmp_path / "masks")


def test_images_of_a_group_that_judges_are_left_out(tmp_path: Path) -> None:
    images = [(name, tmp_path / f"{name}.tif") for name in ("p1_1", "p1_2", "p2_1", "p3_1")]
    for number, (_, path) in enumerate(images):
        tifffile.imwrite(path, phantom(number)[0])
    kept, notices = group_unlabelled(images, "{patient}_*", ["p1", "p3"])
    assert [(one.name, one.group) for one in kept] == [("p2_1", "p2")]
    assert "3 unlabelled images are left out, because their group is held out" in notices[0]


def test_an_unlabelled_item_has_no_labels_and_counts_in_the_hash(tmp_path: Path) -> None:
    one = unlabelled_item(tmp_path / "a.tif")
    with pytest.raises(ValidationError, match="has labels and the role 'unlabelled'"):
        SnapshotItem(**one.model_dump() | {"labels": "a_labels.tif"})
    items = make_items(tmp_path)
    plain, more, other = (
        Snapshot(task="lungs", items=(*items, *extra))
        for extra in ([], [one], [one.model_copy(update={"image_sha256": "1"})])
    )
    assert len({plain.sha256, more.sha256, other.sha256}) == 3


@pytest.mark.parametrize("change", [{"labels": "l"}, {"hold_out": ("a",)}, {"binarise": True}, {"ignored_value": 9}])
def test_an_unlabelled_source_says_nothing_about_labels(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=f"is unlabelled; remove .*{next(iter(change))}"):
        FolderSource(name="s", images="i", unlabelled=True, **change)


def test_a_base_recipe_may_have_an_unlabelled_source(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kind, number in (("images", 0), ("labels", 1)):
        (tmp_path / kind).mkdir()
        for seed in range(3):
            tifffile.imwrite(tmp_path / kind / f"p{seed}.tif", phantom(seed)[number])
    put_unlabelled(tmp_path / "more", 2, 50, 51)
    sources = (
        FolderSource(name="phantoms", images="images", labels="labels", group="^(p.)", hold_out=("p2",)),
        FolderSource(name="more", images="more", unlabelled=True, group="^(u.)"),
    )
    base = ModelRecipe(card=small_card(), sources=sources, recipe=small_recipe(ema_decay=0.9), encoder_weights="none")
    with caplog.at_level(logging.WARNING):
        make_base_run(base, tmp_path, tmp_path, tmp_path / "run")
    assert "1 unlabelled images are left out" in caplog.text
    items = read_snapshot(tmp_path / "run" / "snapshot.json").filter_by_role(Role.UNLABELLED)
    assert [(one.name, one.group, one.labels) for one in items] == [
        ("more/u50", "more/u5", ""),
        ("more/u51", "more/u5", ""),
    ]
    assert all(len(one.image_sha256) == 64 for one in items)


def add_unlabelled(run_dir: Path, *paths: Path) -> None:
    snapshot = read_snapshot(run_dir / "snapshot.json")
    more = tuple(map(unlabelled_item, paths))
    write_snapshot(snapshot.model_copy(update={"items": (*snapshot.items, *more)}), run_dir / "snapshot.json")


def test_a_run_draws_the_same_labelled_patches_with_and_without_unlabelled_images(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run_dir = make_run(ema_decay=0.9)
    plain = read_setup(run_dir, time.monotonic())
    add_unlabelled(run_dir, *put_unlabelled(tmp_path / "more", 60, 61, 62))
    setup = read_setup(run_dir, time.monotonic())
    assert plain.unlabelled is None
    assert plain.sample_batch(5).make_views() is None
    first, second = (one.sample_batch(5) for one in (plain, setup))
    for old, new in zip(first.make_patches(), second.make_patches(), strict=True):
        assert torch.equal(old, new)
    views, again = second.make_views(), setup.sample_batch(5).make_views()
    assert views is not None
    assert again is not None
    assert views.weak.shape == views.strong.shape == (4, 1, 64, 64)
    assert not torch.equal(views.weak, views.strong)
    assert torch.equal(views.strong, again.strong), "a resumed run sees the same patches"
    other = setup.sample_batch(6).make_views()
    assert other is not None
    assert not torch.equal(views.weak, other.weak)
    assert [one["name"] for one in describe_split(setup.split)["unlabelled"]] == ["u60", "u61", "u62"]
    assert "unlabelled" not in describe_split(plain.split)


def test_settings_that_do_not_fit_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    without_average = make_run("a", ema_decay=0.0)
    add_unlabelled(without_average, *put_unlabelled(tmp_path / "more", 60))
    with pytest.raises(MedSegError, match=r"need a moving average .*ema_decay is 0"):
        read_setup(without_average, time.monotonic())
    without_images = make_run("b", items=list(make_items(tmp_path)), ema_decay=0.9, unlabelled={"weight": 0.5})
    with pytest.raises(MedSegError, match=r"settings for unlabelled images .* --unlabelled DIR"):
        read_setup(without_images, time.monotonic())
    staged = make_run("c", items=list(make_items(tmp_path)), ema_decay=0.9)
    add_unlabelled(staged, tmp_path / "more" / "u60.tif")
    recipe = small_recipe(base=json.loads((staged / "recipe.json").read_text())["run"]["base"], ema_decay=0.9)
    stages = ({"n_epochs": 1}, {"n_epochs": 1, "ema_decay": 0.0})
    write_recipe(recipe.model_copy(update={"stages": stages}), staged / "recipe.json")
    with pytest.raises(MedSegError, match="need a moving average"):
        read_setup(staged, time.monotonic())


def test_an_image_whose_name_the_pattern_does_not_match_may_be_of_a_held_out_patient(tmp_path: Path) -> None:
    images = [(name, tmp_path / f"{name}.tif") for name in ("p01_2", "p02_1", "p01-extra")]
    kept, notices = group_unlabelled(images, "{group}_*", {"p01"})
    assert [(image.name, image.group) for image in kept] == [("p02_1", "p02")]
    assert any("does not match their names: p01-extra" in text for text in notices)
    assert any("held out or used for validation: p01_2" in text for text in notices)
