"""Rows of a benchmark on workers: one row is one task, and one that fails says why."""

from pathlib import Path

import pytest
import tifffile
from training_phantoms import phantom, small_card, small_recipe

from napari_medseg.core.model_card import Lineage
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.training_rows import run_rows_on_cluster
from training.benchmark.runner import BenchmarkFolders, plan_suite_runs
from training.benchmark.suite import Suite, SuiteRow
from training.from_folders.base_recipe import FolderSource, ModelRecipe
from training.run_folder import COST_FILE, EVALUATION_FILE, SUITE_LOG_FILE


def test_a_row_that_fails_on_a_worker_says_why_and_done_ones_are_kept(cluster: Cluster, tmp_path: Path) -> None:
    base = ModelRecipe(
        card=small_card().model_copy(update={"lineage": Lineage()}),
        sources=(FolderSource(name="none", images="no-images", labels="labels", group="^(.*)$"),),
        recipe=small_recipe(n_epochs=1),
    )
    rows = (SuiteRow(name="Done", set={}), SuiteRow(name="Fails", set={"recipe": {"loss": "dice"}}))
    suite = Suite(title="t", about="a", base=base.model_dump(mode="json"), rows=rows)
    (tmp_path / "data").mkdir()
    planned = plan_suite_runs(suite, [], tmp_path / "out")
    planned[0].run_dir.mkdir(parents=True)
    for name in (EVALUATION_FILE, COST_FILE):
        (planned[0].run_dir / name).write_text("{}")
    places = BenchmarkFolders(tmp_path / "data", tmp_path, tmp_path / "out")
    ended = {one.planned.row.name: one.message for one in run_rows_on_cluster(cluster, planned, places)}
    assert ended["Done"] == ""
    assert "no-images is not a folder" in ended["Fails"]
    assert (planned[1].run_dir / SUITE_LOG_FILE).exists()


@pytest.mark.long
@pytest.mark.parametrize("n_per_row", [1, 2], ids=["one process", "torchrun"])
def test_a_row_is_trained_and_scored_on_a_worker(cluster: Cluster, tmp_path: Path, n_per_row: int) -> None:
    data = tmp_path / "data"
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    for seed in range(6):
        for folder, pixels in zip(("images", "labels"), phantom(seed), strict=True):
            tifffile.imwrite(data / folder / f"p{seed}.tif", pixels)
    source = FolderSource(name="phantoms", images="images", labels="labels", group="^(.*)$", hold_out=("p4", "p5"))
    base = ModelRecipe(
        card=small_card().model_copy(update={"lineage": Lineage()}),
        sources=(source,),
        recipe=small_recipe(n_epochs=1, steps_per_epoch=2, replay_share=0.0),
    )
    suite = Suite(title="t", about="a", base=base.model_dump(mode="json"), rows=(SuiteRow(name="Row", set={}),))
    planned = plan_suite_runs(suite, [{"recipe": {"run": {"device": "cpu"}}}], tmp_path / "out")
    places = BenchmarkFolders(data, tmp_path, tmp_path / "out")
    assert [one.message for one in run_rows_on_cluster(cluster, planned, places, n_per_row)] == [""]
    assert planned[0].is_done
    assert [one.message for one in run_rows_on_cluster(cluster, planned, places, n_per_row)] == [""], "it is kept"
