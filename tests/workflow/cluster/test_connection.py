"""What is refused before any case is given out."""

import os
from pathlib import Path

import psutil
import pytest
from cluster_phantoms import CALM, MODEL, make_job, run_job, write_images

from napari_medseg.core.decoded_size.free_memory import bound_process_memory
from napari_medseg.core.decoded_size.freed_memory import return_freed_memory
from napari_medseg.core.decoded_size.limit import allow_memory, compute_limit
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.workflow.cluster.case_request import ModelRequest, make_model_request
from napari_medseg.workflow.cluster.case_task import find_worker_problem
from napari_medseg.workflow.cluster.connection import Cluster, refuse_other_versions
from napari_medseg.workflow.cluster.prediction_run import begin_predictions


def test_other_versions_are_named() -> None:
    ours = {"host": {"python": "3.12.3.final.0"}, "packages": {"dask": "2026.8", "distributed": "2026.8"}}
    patch = {"host": {"python": "3.12.9.final.0"}, "packages": ours["packages"]}
    refuse_other_versions({"client": ours, "scheduler": patch, "workers": {}})
    theirs = {"host": {"python": "3.11.2.final.0"}, "packages": {"dask": "2026.8", "distributed": "2025.1"}}
    told = r"the worker tcp://b:1 has other versions: Python 3.11 \(here 3.12\), distributed 2025.1 \(here 2026.8\)"
    with pytest.raises(MedSegError, match=told):
        refuse_other_versions({"client": ours, "scheduler": ours, "workers": {"tcp://a:1": ours, "tcp://b:1": theirs}})


def test_workers_without_the_output_folder_are_named(cluster: Cluster, tmp_path: Path) -> None:
    images = write_images(tmp_path / "in", CALM)
    with begin_predictions(cluster, make_job(images, tmp_path / "out")) as run:
        (token,) = (tmp_path / "out" / ".medseg-cases").glob("*.token")
        token.unlink()  # as on a worker that has another disk under this path
        with pytest.raises(MedSegError, match=r"no worker can do the work.*does not see the output folder"):
            list(run.run())


def test_a_worker_that_does_not_see_an_image_says_so(cluster: Cluster, tmp_path: Path) -> None:
    images = write_images(tmp_path / "in", CALM, CALM)
    job = make_job(images, tmp_path / "out")
    (images / "im0.tif").unlink()
    run = run_job(cluster, job)
    assert "does not see" in run.errors[0]
    assert "a disk that they share" in run.errors[0]
    assert run.errors[1] == ""


def test_no_port_is_open_to_other_machines(cluster: Cluster) -> None:
    processes = [psutil.Process(), *map(psutil.Process, cluster.client.run(os.getpid).values())]
    ports = [socket.laddr.ip for one in processes for socket in one.net_connections() if socket.status == "LISTEN"]
    assert set(ports) == {"127.0.0.1"}
    assert cluster.address.startswith("tcp://127.0.0.1:")


def test_another_program_or_other_weights_are_named(tmp_path: Path) -> None:
    models = ModelRegistry(tmp_path, BUNDLED_MODELS)
    card = models.get_live_card("lungs")
    requested = make_model_request(models, card, None)
    assert requested.find_folders()[0] == models.get_folder(card.id)
    with pytest.raises(MedSegError, match="has other weights there"):
        ModelRequest(str(tmp_path), card.id, "0" * 64).find_folders()
    with pytest.raises(MedSegError, match="must be on a disk that all machines share"):
        ModelRequest(str(tmp_path), "mine@1", "0" * 64).find_folders()
    case = run_request(tmp_path)
    assert "it has napari-medseg" in find_worker_problem(case)


def run_request(folder: Path):  # noqa: ANN201
    from napari_medseg.workflow.cluster.case_request import CaseRequest

    return CaseRequest("k", "f", ("a",), str(folder), "t", MODEL, program="0.0.0-other")


def test_a_worker_is_not_paused_and_keeps_freed_memory(cluster: Cluster) -> None:
    """Dask gives a worker above 80 % of its memory no case, and lets glibc give back each freed array."""
    for fraction, trimming, heaps in cluster.client.run(read_memory_settings).values():
        assert (fraction, trimming, heaps) == (False, None, "1")


def read_memory_settings(dask_worker):  # noqa: ANN001, ANN201
    fraction = dask_worker.memory_manager.memory_pause_fraction
    return fraction, os.environ.get("MALLOC_TRIM_THRESHOLD_"), os.environ.get("MALLOC_ARENA_MAX")


def test_the_memory_of_a_worker_bounds_what_an_image_may_take() -> None:
    free = compute_limit(10**12).n_bytes
    return_freed_memory()  # what earlier tests freed counts as left, too
    try:
        bound_process_memory(psutil.Process().memory_info().rss + 10**9)
        assert compute_limit(10**12).n_bytes < min(free, 300 * 10**6)
        assert "--memory of this worker" in compute_limit(10**12).reason
        with allow_memory(10**12):
            assert compute_limit(10**12).n_bytes < 2 * 10**9
        with allow_memory(10**6):
            assert compute_limit(10**12).n_bytes == 10**6
    finally:
        bound_process_memory(None)
