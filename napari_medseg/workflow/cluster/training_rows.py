"""Rows of a benchmark on workers: one row is one task, which trains in processes of its own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medseg.core.decoded_size.limit import get_max_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.case_records import CaseRecords, make_case_key
from napari_medseg.workflow.cluster.case_request import CaseRequest
from napari_medseg.workflow.cluster.case_task import CaseOutcome, run_case
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.spreading import spread
from napari_medseg.workflow.cluster.warm_models import WarmModels

if TYPE_CHECKING:
    from training.benchmark.runner import BenchmarkFolders, PlannedRun, RowEnded


def train_row(request: CaseRequest) -> dict[str, Any]:
    """Train and score one row, or continue it: a task. Returns its record, see `case_task.run_case`."""
    return run_case(request, _train)


def run_rows_on_cluster(
    cluster: Cluster, planned: "Sequence[PlannedRun]", places: "BenchmarkFolders", n_per_row: int = 1
) -> "Iterator[RowEnded]":
    """Run the rows that are not done yet, as `training.benchmark.runner.run_rows` does in this process.

    A row whose worker dies goes on from its checkpoint on another one, twice; then it has failed.

    Raises
    ------
    MedSegError
        As `spread`, and if another command works in the folder.
    """
    from training.benchmark.runner import RowEnded

    yield from (RowEnded(one) for one in planned if one.is_done)
    left, records = [one for one in planned if not one.is_done], CaseRecords(places.out)
    with records.hold() as token:
        requests = [_make_request(one, places, n_per_row, token) for one in left]
        for request in requests:
            records.remove(request.key)
        for ended in spread(cluster, train_row, [(request,) for request in requests]):
            yield RowEnded(left[ended.index], ended.problem or ended.answer["error"])


def _make_request(one: "PlannedRun", places: "BenchmarkFolders", n_per_row: int, token: str) -> CaseRequest:
    return CaseRequest(
        key=make_case_key("row", one.run_dir.name),
        fingerprint=one.run_dir.name,
        paths=(str(places.data.absolute()),),
        output=str(places.out.absolute()),
        token=token,
        model=None,
        options={
            "run": one.run_dir.name,
            "recipe": one.recipe.model_dump_json(),
            "weights": str(places.weights.absolute()),
            "n_per_row": n_per_row,
        },
        max_memory=get_max_memory(),
    )


def _train(request: CaseRequest, models: WarmModels) -> CaseOutcome:
    import torch

    from training.benchmark.runner import BenchmarkFolders, make_environment, run_row
    from training.from_folders.base_recipe import ModelRecipe

    places = BenchmarkFolders(Path(request.paths[0]), Path(request.options["weights"]), Path(request.output))
    n_per_row, recipe = int(request.options["n_per_row"]), ModelRecipe.model_validate_json(request.options["recipe"])
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() and recipe.recipe.run.device != "cpu" else 0
    run_dir = places.out / "runs" / request.options["run"]
    with models.take_alone():
        environment = make_environment(models.number, 1, n_gpus, n_per_row)
        problem = run_row(run_dir, recipe, places, environment, n_per_row, ends_with_this=True)
    if problem:
        raise MedSegError(problem)
    return CaseOutcome({"run": request.options["run"]})
