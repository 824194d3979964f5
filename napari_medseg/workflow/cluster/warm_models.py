"""One warm predictor in each worker process, and what a worker is: its memory, its GPU, its threads."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin, get_worker

from napari_medseg.core.decoded_size.free_memory import bound_process_memory
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.inference.runtimes.runtime_names import choose_runtime
from napari_medseg.inference.tuning.settings import make_tuning_settings
from napari_medseg.workflow.cluster.case_request import ModelRequest

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor

PLUGIN_NAME = "napari-medseg"


class UnfitWorkerError(Exception):
    """A worker cannot do any case of this command; its address and the reason are its arguments. Others may."""


LoadPredictor = Callable[[ModelRequest, str | None], "Predictor"]
"""Loads a version on a device."""


def load_requested_predictor(request: ModelRequest, device: str | None) -> "Predictor":
    """Load a version from the folders that this computer has; raise `MedSegError` if it lacks them.

    A worker without OpenVINO computes with torch, also where it was asked for.
    """
    from napari_medseg.inference.predictor import Predictor

    folder, roi_folder = request.find_folders()
    tuning = make_tuning_settings(choose_runtime(request.runtime), is_constant=request.is_constant)
    return Predictor.load(folder, device, roi_folder, tuning)


class WarmModels(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """A plugin of Dask's workers that keeps the last predictor. It is sent once to each worker, also to later ones.

    Parameters
    ----------
    load
        Loads a predictor.
    """

    name = PLUGIN_NAME
    idempotent = False

    def __init__(self, load: LoadPredictor = load_requested_predictor) -> None:
        self._load = load

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to a worker: how to load, no lock and no network."""
        return {"_load": self._load}

    def setup(self, worker: Any) -> None:  # noqa: ANN401 -- Dask's worker
        """Begin in a worker process: its bound of memory holds for the estimates of the readers, too."""
        self.address = str(worker.address)
        self.number = worker.name if isinstance(worker.name, int) else 0
        self._lock = threading.Lock()
        self._request: ModelRequest | None = None
        self._predictor: Predictor | None = None
        limit = worker.memory_manager.memory_limit
        bound_process_memory(int(limit) // max(1, worker.state.nthreads) if limit else None)

    def teardown(self, worker: Any) -> None:  # noqa: ANN401 -- Dask's worker
        """End in a worker process."""
        self._predictor = None

    def warm(self, request: ModelRequest) -> None:
        """Load a version if it is not there yet, without waiting for a thread that it is lent to; raises as `lend`."""
        if self._predictor is not None and request == self._request:
            return
        with self.lend(request):
            pass

    @contextlib.contextmanager
    def lend(self, request: ModelRequest) -> Iterator["Predictor"]:
        """Lend the predictor of a version to one thread at a time; others read and write their cases meanwhile.

        Raises
        ------
        UnfitWorkerError
            If the worker lacks the version, or cannot load it.
        """
        with self._lock:
            if self._predictor is None or request != self._request:
                self._predictor, self._request = None, None  # two networks need not fit
                try:
                    with translate_errors():
                        self._predictor = self._load(request, self._choose_device(request))
                except MedSegError as error:
                    raise UnfitWorkerError(self.address, str(error)) from None
                self._request = request
            yield self._predictor

    @contextlib.contextmanager
    def take_alone(self) -> Iterator[None]:
        """Let one thread use the whole worker, as a training does."""
        with self._lock:
            yield

    def _choose_device(self, request: ModelRequest) -> str | None:
        """Return the device; workers of one machine that see several GPUs take one each."""
        if request.device is not None:
            return request.device
        import torch

        n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return f"cuda:{self.number % n_gpus}" if n_gpus > 1 else None


@lru_cache(maxsize=8)
def read_task(registry: str, task: str, token: str) -> Task:
    """Return a task as the folder of models defines it, read once for each command (`token`).

    Raises
    ------
    MedSegError
        If there is no such task.
    """
    return ModelRegistry(Path(registry), BUNDLED_MODELS).read_task_catalog().get_task(task)


def get_warm_models() -> WarmModels:
    """Return the plugin of the worker that this task runs in."""
    plugin: WarmModels = get_worker().plugins[PLUGIN_NAME]
    return plugin
