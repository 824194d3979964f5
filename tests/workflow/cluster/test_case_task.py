"""A task on a worker, without Dask: what it leaves, and whom it waits for."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_phantoms import CALM, MODEL, load_fake, make_job, write_images

from napari_medseg.workflow.cluster import warm_models
from napari_medseg.workflow.cluster.case_records import CaseRecords
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.prediction_run import begin_predictions
from napari_medseg.workflow.cluster.prediction_task import predict_case
from napari_medseg.workflow.cluster.warm_models import PLUGIN_NAME, WarmModels

NO_CLUSTER: Cluster = None  # type: ignore[assignment]  # tasks are called here


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> WarmModels:
    """The plugin in a worker of Dask."""
    memory, state = SimpleNamespace(memory_limit=None), SimpleNamespace(nthreads=2)
    models = WarmModels(load_fake)
    models.setup(SimpleNamespace(address="tcp://here", name=0, memory_manager=memory, state=state))
    monkeypatch.setattr(warm_models, "get_worker", lambda: SimpleNamespace(plugins={PLUGIN_NAME: models}))
    return models


@pytest.mark.usefixtures("models")
def test_a_task_of_another_version_that_ends_last_changes_no_labels(tmp_path: Path) -> None:
    images, out = write_images(tmp_path / "in", CALM), tmp_path / "out"
    with begin_predictions(NO_CLUSTER, make_job(images, out, sha256="1" * 64)) as run:
        (old,) = run.requests
    with begin_predictions(NO_CLUSTER, make_job(images, out, sha256="2" * 64)) as run:
        (new,) = run.requests
        predict_case(new)
        (staged,) = CaseRecords(out).folder.glob("*-labels.tif")
        before = staged.stat()
        predict_case(replace(old, token=new.token))  # it began when its own client still held the folder
        after = staged.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_thread_reads_its_case_while_another_one_predicts(models: WarmModels) -> None:
    with models.lend(MODEL):
        other = threading.Thread(target=models.warm, args=(MODEL,), daemon=True)
        other.start()
        other.join(5)
        assert not other.is_alive(), "the version is there already"
    assert models.warm(replace(MODEL, weights_sha256="3" * 64)) is None
