"""The options by which a command spreads its work: processes of this machine, or a Dask scheduler."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medseg.cli.console import echo_notice
from napari_medseg.core.decoded_size.limit import parse_size
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.connection import (
    Cluster,
    ClusterChoice,
    open_cluster,
    refuse_contradictions,
    require_dask,
    wait_for_workers,
)

if TYPE_CHECKING:
    from napari_medseg.workflow.cluster.warm_models import WarmModels

_BY_DASK = "that of Dask's configuration"
PANEL = "Many cases at once (needs napari-medseg\\[cluster])"

WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="Processes of this machine that share the cases.",
        show_default="one, without Dask",
        rich_help_panel=PANEL,
    ),
]
SchedulerOption = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler whose workers share the cases: tcp://HOST:8786 or tls://HOST:8786. It runs what it is "
        "sent: only between machines that trust each other.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
WorkerMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="AMOUNT",
        help="What each process of --workers may take, such as 4GB. One that takes more is started again.",
        show_default="its share of the machine",
        rich_help_panel=PANEL,
    ),
]
TlsCaOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        help="Certificate of the authority (PEM), for tls://.",
        show_default=_BY_DASK,
        rich_help_panel=PANEL,
    ),
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option("--tls-cert", help="Certificate of this client (PEM).", show_default=_BY_DASK, rich_help_panel=PANEL),
]
TlsKeyOption = Annotated[
    Path | None,
    typer.Option("--tls-key", help="Its key (PEM).", show_default=_BY_DASK, rich_help_panel=PANEL),
]


def choose_cluster(workers: int, scheduler: str, memory: str | None = None, *tls: Path | None) -> ClusterChoice | None:
    """Return where the work is done; `None`: in this process.

    Raises
    ------
    MedSegError
        If the options contradict each other, or Dask is not installed.
    """
    if not workers and not scheduler:
        if memory is not None or any(tls):
            raise MedSegError("--memory and the --tls options are for several workers. Add --workers or --scheduler.")
        return None
    ca, cert, key = tls or (None, None, None)
    choice = ClusterChoice(workers, scheduler, None if memory is None else parse_size(memory), ca, cert, key)
    refuse_contradictions(choice)
    require_dask()
    return choice


@contextlib.contextmanager
def open_chosen_cluster(choice: ClusterChoice | None, models: "WarmModels | None" = None) -> Iterator[Cluster | None]:
    """Open the workers of a choice, say where Dask shows them, and wait for the first one; `None` if none is chosen."""
    if choice is None:
        yield None
        return
    with open_cluster(choice, models) as cluster:
        wait_for_workers(cluster, echo_notice)
        if cluster.dashboard:
            echo_notice(f"Dask shows the workers at {cluster.dashboard}")
        yield cluster
