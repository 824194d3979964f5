import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from training_phantoms import WIDER, phantom, small_card, small_recipe

from napari_medseg.core.model_card import Lineage
from napari_medseg.inference.predictor import Predictor
from training.benchmark.runner import BenchmarkFolders, make_environment, plan_suite_runs, run_rows
from training.benchmark.suite import Suite, SuiteRow
from training.benchmark.table import read_suite_figures, read_table_rows, write_tables
from training.from_folders.base_recipe import FolderSource, ModelRecipe
from training.reports.evaluation_report import LABEL_METRICS
from training.run_folder import COST_FILE, EVALUATION_FILE, EXAMPLE_FIGURES_FILE

N_IMAGES = 6


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkFolders:
    data = tmp_path_factory.mktemp("data")
    for folder in ("images", "labels"):
        (data / folder).mkdir()
    for seed in range(N_IMAGES):
        pixels, labels = phantom(seed)
        tifffile.imwrite(data / "images" / f"p{seed}.tif", pixels)
        tifffile.imwrite(data / "labels" / f"p{seed}.tif", labels)
    return BenchmarkFolders(data, data, tmp_path_factory.mktemp("out"))


def toy_suite() -> Suite:
    base = ModelRecipe(
        card=small_card(WIDER).model_copy(update={"lineage": Lineage()}),
        sources=(
            FolderSource(name="phantoms", images="images", labels="labels", group="^(.*)$", hold_out=("p4", "p5")),
        ),
        recipe=small_recipe(n_epochs=1, steps_per_epoch=2, replay_share=0.0),
    )
    rows = (
        SuiteRow(name="No such loss", set={"recipe": {"loss": "guesswork"}}),
        SuiteRow(name="Dice", set={"recipe": {"loss": "dice"}}, recommended=True, theirs="Dice 0.9"),
    )
    return Suite(title="Losses on phantoms", about="Two lungs.", base=base.model_dump(mode="json"), rows=rows)


@pytest.fixture(scope="module")
def ended(places: BenchmarkFolders, warm_trainings_of_a_module: None) -> dict[str, str]:
    return {
        end.planned.row.name: end.message for end in run_rows(plan_suite_runs(toy_suite(), [], places.out), places, 2)
    }


def test_a_row_that_fails_says_why_and_the_others_go_on(ended: dict[str, str]) -> None:
    assert ended.keys() == {"Dice", "No such loss"}
    assert ended["Dice"] == ""
    assert "unknown loss 'guesswork'" in ended["No such loss"]


def test_figures_are_those_of_the_run_and_drawn_where_it_kept_none(
    ended: dict[str, str], places: BenchmarkFolders
) -> None:
    planned = plan_suite_runs(toy_suite().select_rows(["Dice"]), [], places.out)
    kept = dict(read_suite_figures(planned))["Dice"]
    assert [figure.name for figure in kept] == ["phantoms/p4", "phantoms/p5"]
    hidden = planned[0].run_dir / "hidden.npz"
    (planned[0].run_dir / "example_figures.npz").rename(hidden)
    drawn = dict(read_suite_figures(planned))["Dice"]
    hidden.rename(planned[0].run_dir / "example_figures.npz")
    for ours, theirs in zip(kept, drawn, strict=True):
        assert (ours.name, ours.dice) == (theirs.name, pytest.approx(theirs.dice))
        np.testing.assert_array_equal(ours.rgb, theirs.rgb)


def test_the_tables_hold_what_was_measured(
    ended: dict[str, str], places: BenchmarkFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_suite_runs(toy_suite(), [], places.out)
    lines = read_table_rows(planned, {name: text for name, text in ended.items() if text})
    monkeypatch.delattr(Predictor, "predict")  # a table predicts nothing
    pictures = dict(read_suite_figures(planned))
    table, markdown, page = write_tables(toy_suite(), lines, "medseg benchmark toy.toml", places.out, pictures)
    rows = list(csv.DictReader(table.open()))
    row, failed = sorted(rows, key=lambda one: one["row"])
    assert failed["row"].startswith("No such loss: failed, ")
    assert failed["Dice"] == ""
    assert row["row"] == "Dice (recommended)"
    assert row["images"] == "2"
    per_label = [float(row["Dice right lung"]), float(row["Dice left lung"])]
    assert float(row["Dice"]) == pytest.approx(np.mean(per_label))
    assert 0 < float(row["accuracy"]) <= 1
    correct = [float(row["accuracy right lung"]), float(row["accuracy left lung"])]
    assert min(correct) >= float(row["accuracy"]) - 1e-9, "a pixel that is right is right for each label"
    distances = [float(row[f"HD95 {side} lung px"]) for side in ("right", "left")]
    assert min(distances) <= float(row["HD95 px"]) <= max(distances)
    assert float(row["parameters, millions"]) > 0
    assert float(row["memory MB"]) > 50
    assert row["epochs"] == "1"
    assert "| Dice (recommended) |" in markdown.read_text()
    assert "Dice 0.9 |" in markdown.read_text()
    html = page.read_text()
    assert html.count("<img") == 2  # two cases of the row that is done
    assert "Validation Dice by epoch" in html


def test_what_is_done_is_not_done_again_but_another_recipe_is(ended: dict[str, str], places: BenchmarkFolders) -> None:
    planned = plan_suite_runs(toy_suite().select_rows(["Dice"]), [], places.out)
    before = (planned[0].run_dir / "model.safetensors").stat().st_mtime_ns
    assert [end.message for end in run_rows(planned, places)] == [""]
    assert (planned[0].run_dir / "model.safetensors").stat().st_mtime_ns == before
    (other,) = plan_suite_runs(toy_suite().select_rows(["Dice"]), [{"recipe": {"seed": 7}}], places.out)
    assert not other.is_done
    assert other.run_dir != planned[0].run_dir


def test_rows_share_the_gpus_that_a_scheduler_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [make_environment(slot, 3, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["2", "5", "2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [make_environment(slot, 2, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(2)] == ["0", "1"]


def test_a_row_is_not_trained_again_on_another_device(places: BenchmarkFolders) -> None:
    one, other = (
        plan_suite_runs(toy_suite().select_rows(["Dice"]), changes, places.out)[0]
        for changes in ([], [{"recipe": {"run": {"device": "cpu"}}}])
    )
    assert other.recipe.recipe.run.device == "cpu"
    assert one.run_dir == other.run_dir


@pytest.mark.parametrize(
    ("name", "damage", "text"),
    [
        (COST_FILE, b'{"seconds": 3}', "peak_mb: Field required"),
        (COST_FILE, b'{"seconds": "long", "peak_mb": 1, "parameters": 1, "device": "cpu"}', "seconds: Input should be"),
        (COST_FILE, b"\xff", "is not the cost of a run"),
        (COST_FILE, b"[" * 100_000, "is not the cost of a run"),
        (EVALUATION_FILE, b"{}", "images: Field required"),
        (EVALUATION_FILE, b'{"images": []}', "images: "),
        (EVALUATION_FILE, b'{"images": [{"name": "a"}]}', "'mean_dice'.* are missing"),
        (EVALUATION_FILE, b'{"images": {"a": [' * 50_000, "is not an evaluation"),
    ],
)
def test_a_damaged_result_costs_its_row_only(tmp_path: Path, name: str, damage: bytes, text: str) -> None:
    planned = plan_suite_runs(toy_suite(), [], tmp_path)[:2]
    for one in planned:
        one.run_dir.mkdir(parents=True)
        (one.run_dir / EVALUATION_FILE).write_text(json.dumps({"images": [one_image()]}))
        (one.run_dir / COST_FILE).write_text(json.dumps({"seconds": 3, "peak_mb": 1, "parameters": 1, "device": "cpu"}))
        (one.run_dir / EXAMPLE_FIGURES_FILE).write_bytes(b"PK")
    (planned[0].run_dir / name).write_bytes(damage)
    damaged, whole = read_table_rows(planned, {})
    assert re.search(text, damaged.message)
    assert damaged.values == {}
    assert whole.message == ""
    assert whole.values["Dice"] == 0.5
    assert dict(read_suite_figures(planned)) == {}, "damaged figures are left out"


def test_a_label_that_does_not_count_in_an_image_has_the_mean_of_the_others(tmp_path: Path) -> None:
    (one,) = plan_suite_runs(toy_suite(), [], tmp_path)[:1]
    one.run_dir.mkdir(parents=True)
    (one.run_dir / COST_FILE).write_text(json.dumps({"seconds": 3, "peak_mb": 1, "parameters": 1, "device": "cpu"}))
    nothing = {f"{metric}_left": "" for metric in LABEL_METRICS}
    (one.run_dir / EVALUATION_FILE).write_text(json.dumps({"images": [one_image(), one_image() | nothing]}))
    (row,) = read_table_rows([one], {})
    assert row.message == ""
    assert row.values["Dice left"] == 0.5


def one_image() -> dict[str, object]:
    numbers = dict.fromkeys(["mean_dice", "miou", "agreement", "foreground_dice", "seconds"], 0.5)
    of_labels = {f"{metric}_{label}": 0.5 for metric in LABEL_METRICS for label in ("left", "right")}
    return {"name": "a", "group": "a", "source": "s", "unit": "px", "swapped": 0, **numbers, **of_labels}
