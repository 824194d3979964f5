"""The connection to Dask: worker processes of this machine, or a scheduler that somebody started elsewhere."""

import contextlib
import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from napari_medseg.core.decoded_size.limit import format_bytes
from napari_medseg.core.errors import MedSegError, get_reason

if TYPE_CHECKING:
    from napari_medseg.workflow.cluster.warm_models import WarmModels

CONNECT_S = 20.0
WORKERS_WAIT_S = 5.0
MIN_WORKER_BYTES = 900 * 10**6
"""A worker took 880 MB after its first slices of CT, with torch, OpenVINO and one of the bundled networks."""
MEMORY_SHARE = 0.9
"""Of the machine's memory for all workers, if nobody says more."""
LOCAL_SETTINGS = {
    "distributed.scheduler.allowed-failures": 10,  # deaths are counted by case, see `case_records`
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.worker-ttl": None,  # a large case may hold the interpreter for long
    "distributed.admin.tick.interval": "1s",  # Dask's clocks took 3 % of two cores while nothing was done
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.memory.monitor-interval": "400ms",
    # A worker above 80 % would get no case any more, and keeps none that it could free: it waited for ever.
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # Dask lets glibc give back each freed array, which took a tenth of the processor: see `freed_memory`, which needs
    # one heap, because only that of the main thread may be larger than 64 MB.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
}
INSTALL = 'pip install "napari-medseg[cluster]"'


@dataclass(frozen=True)
class ClusterChoice:
    """Where the work is done.

    Parameters
    ----------
    n_workers
        Processes of this machine; 0 with a scheduler.
    scheduler
        Address such as ``tcp://host:8786`` or ``tls://host:8786``; empty for this machine.
    memory_bytes
        What each process of this machine may take; `None`: its share.
    tls_ca, tls_cert, tls_key
        Files in PEM format; `None`: as Dask's own configuration says.
    """

    n_workers: int = 0
    scheduler: str = ""
    memory_bytes: int | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True, eq=False)
class Cluster:
    """An open connection; `dashboard` is the address of Dask's pages, empty if they are not served."""

    client: Any
    address: str
    dashboard: str
    is_local: bool

    def count_threads(self) -> int:
        """Return how many cases the workers take at once; 0 while there are none."""
        return sum(self.client.nthreads().values())


def require_dask() -> None:
    """Raise `MedSegError` if Dask or the writer of tables is not installed."""
    missing = [name for name in ("distributed", "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        raise MedSegError(f"several workers need {' and '.join(missing)}, which is not installed. Install: {INSTALL}")


def refuse_contradictions(choice: ClusterChoice) -> None:
    """Refuse options that cannot be used together; raises `MedSegError`."""
    tls = (choice.tls_ca, choice.tls_cert, choice.tls_key)
    if choice.scheduler and choice.n_workers:
        raise MedSegError("give either --workers, for processes of this machine, or --scheduler, not both.")
    if choice.scheduler and choice.memory_bytes:
        raise MedSegError(
            "--memory bounds the processes of --workers. The workers of a scheduler have a bound of their own: start "
            "them with dask worker --memory-limit."
        )
    if any(tls) and not choice.scheduler.startswith("tls://"):
        raise MedSegError("--tls-ca, --tls-cert and --tls-key are for a --scheduler whose address begins with tls://.")
    if any(tls) and not all(tls):
        raise MedSegError("--tls-ca, --tls-cert and --tls-key belong together: Dask proves both ends. Give all three.")
    for file in filter(None, tls):
        if not file.is_file():
            raise MedSegError(f"{file} does not exist. Give the PEM file of Dask's TLS.")
    if choice.scheduler and not choice.scheduler.startswith(("tcp://", "tls://")):
        raise MedSegError(
            f"{choice.scheduler!r} is no address of a scheduler, such as tcp://host:8786 or tls://host:8786."
        )


@contextlib.contextmanager
def open_cluster(choice: ClusterChoice, models: "WarmModels | None" = None) -> Iterator[Cluster]:
    """Open a connection, and send the plugin that keeps models to all workers, also to those that come later.

    Raises
    ------
    MedSegError
        If Dask is not installed, the scheduler cannot be reached, its programs are of other versions, or a worker
        would have too little memory.
    """
    require_dask()
    refuse_contradictions(choice)
    from napari_medseg.workflow.cluster.warm_models import PLUGIN_NAME, WarmModels

    with _open_remote(choice) if choice.scheduler else _open_local(choice) as cluster:
        if not cluster.is_local:
            refuse_other_versions(cluster.client.get_versions())
        try:
            cluster.client.register_plugin(models or WarmModels(), name=PLUGIN_NAME)
        except ImportError as error:
            raise MedSegError(
                f"a worker of {cluster.address} cannot load this program: {get_reason(error)}. Install "
                "napari-medseg[cluster] where the workers run, in the same version as here."
            ) from error
        yield cluster


def compute_worker_memory(choice: ClusterChoice) -> int:
    """Return what each process of this machine may take; raise `MedSegError` if it is too little."""
    share = int(psutil.virtual_memory().total * MEMORY_SHARE) // max(1, choice.n_workers)
    n_bytes = choice.memory_bytes or share
    if n_bytes < MIN_WORKER_BYTES:
        raise MedSegError(
            f"each of {choice.n_workers} workers would have {format_bytes(n_bytes)}; the program alone takes "
            f"{format_bytes(MIN_WORKER_BYTES)}. Start fewer workers, or give more with --memory."
        )
    return n_bytes


def compute_threads(n_workers: int) -> int:
    """Return the share of the processor's threads of each process of this machine."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // max(1, n_workers))


@contextlib.contextmanager
def _open_local(choice: ClusterChoice) -> Iterator[Cluster]:
    import dask
    from distributed import Client, LocalCluster

    memory, threads = compute_worker_memory(choice), compute_threads(choice.n_workers)
    has_pages = importlib.util.find_spec("bokeh") is not None
    with dask.config.set(LOCAL_SETTINGS), _quiet_dask(), contextlib.ExitStack() as stack:
        try:
            local = LocalCluster(
                n_workers=choice.n_workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",  # no port is open to other machines
                memory_limit=memory,
                dashboard_address="127.0.0.1:0",  # None would be port 8787 on all addresses
                worker_dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                env={"OMP_NUM_THREADS": str(threads)},
            )
        except (OSError, RuntimeError) as error:
            raise MedSegError(f"{choice.n_workers} workers cannot be started: {get_reason(error)}.") from error
        stack.callback(_close, lambda: local.close(timeout=10))
        client = Client(local, set_as_default=False)
        stack.callback(_close, lambda: client.close(timeout=10))
        yield Cluster(client, client.scheduler.address, local.dashboard_link if has_pages else "", is_local=True)


@contextlib.contextmanager
def _open_remote(choice: ClusterChoice) -> Iterator[Cluster]:
    from distributed import Client, Security

    security = Security()
    if choice.tls_ca is not None:
        security = Security(
            tls_ca_file=str(choice.tls_ca),
            tls_client_cert=str(choice.tls_cert),
            tls_client_key=str(choice.tls_key),
            require_encryption=True,
        )
    with _quiet_dask():
        try:
            client = Client(choice.scheduler, security=security, timeout=CONNECT_S, set_as_default=False)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise MedSegError(
                f"the scheduler {choice.scheduler} cannot be reached: {get_reason(error)}. Check that `dask scheduler` "
                "runs there, that the port is open to this machine, and that both use the same protocol (tcp or tls)."
            ) from error
        try:
            port = client.scheduler_info().get("services", {}).get("dashboard")
            yield Cluster(client, choice.scheduler, client.dashboard_link if port else "", is_local=False)
        finally:
            _close(lambda: client.close(timeout=10))


def wait_for_workers(cluster: Cluster, tell: Callable[[str], object]) -> None:
    """Wait until the scheduler has a worker: those of a queue may begin hours later. `tell` hears it once."""
    told, began = False, time.monotonic()
    while cluster.count_threads() == 0:
        if not told and time.monotonic() - began > WORKERS_WAIT_S:
            tell(f"the scheduler {cluster.address} has no workers yet; the work begins when the first one comes.")
            told = True
        time.sleep(0.2)


def refuse_other_versions(versions: dict[str, Any]) -> None:
    """Refuse programs whose messages or pickles differ from those of this client; raises `MedSegError`.

    Parameters
    ----------
    versions
        What `Client.get_versions` returns.
    """
    ours = _list_versions(versions["client"])
    others = {"the scheduler": versions["scheduler"]} | {
        f"the worker {address}": found for address, found in (versions["workers"] or {}).items()
    }
    for who, found in others.items():
        theirs = _list_versions(found)
        if different := [name for name in ours if ours[name] != theirs.get(name)]:
            listed = ", ".join(f"{name} {theirs.get(name)} (here {ours[name]})" for name in different)
            raise MedSegError(
                f"{who} has other versions: {listed}. Client, scheduler and workers need the same ones: install the "
                "same environment on all machines."
            )


def _list_versions(found: dict[str, Any]) -> dict[str, str]:
    packages = {name: str(found["packages"].get(name)) for name in ("dask", "distributed", "cloudpickle", "msgpack")}
    return {"Python": ".".join(str(found["host"]["python"]).split(".")[:2]), **packages}


@contextlib.contextmanager
def _quiet_dask() -> Iterator[None]:
    """Keep Dask's own messages out of the terminal: what matters is said by this program."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            warnings.filterwarnings("ignore", message="(?s).*Mismatched versions")
            yield
    finally:
        logger.setLevel(before)


def _close(action: Callable[[], object]) -> None:
    """Close what is left of a connection; a scheduler that is gone needs no good-bye."""
    with contextlib.suppress(OSError, RuntimeError, TimeoutError):
        action()
