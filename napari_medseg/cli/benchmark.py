"""`medseg benchmark`: train every row of a suite on the same data and split, and compare them in one table."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medseg.cli.cluster.options import (
    SchedulerOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    WorkerMemoryOption,
    WorkersOption,
    choose_cluster,
    open_chosen_cluster,
)
from napari_medseg.cli.console import INTERRUPTED, echo, make_progress_console
from napari_medseg.cli.options import DeviceOption, MaxMemoryOption, check_output_folder, split_words
from napari_medseg.cli.train.run_options import check_device
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.connection import ClusterChoice

if TYPE_CHECKING:
    from training.benchmark.runner import BenchmarkFolders, PlannedRun, RowEnded
    from training.benchmark.suite import Suite

OutOption = Annotated[
    Path,
    typer.Option(
        "--out", "-o", callback=check_output_folder, help="Folder for runs and tables; an existing one is continued."
    ),
]
DataOption = Annotated[Path, typer.Option("--data", help="Folder of the suite's images.")]
WeightsOption = Annotated[Path, typer.Option("--weights", help="Folder of pretrained encoders.")]
RowOption = Annotated[list[str] | None, typer.Option("--row", help="Train only this row; repeatable.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Setting for all rows: recipe.schedule.n_epochs=5; repeatable.")
]
ModelsOption = Annotated[str, typer.Option("--models", help="Networks to train instead, such as unet,deeplabv3plus.")]
AtOnceOption = Annotated[
    int, typer.Option("--at-once", help="Rows to train at the same time.", min=0, show_default="one per GPU")
]
PerRowOption = Annotated[
    int,
    typer.Option(
        "--processes-per-row",
        min=1,
        help="Processes, and GPUs, that train a row together by torchrun; a step then has as many batches.",
    ),
]
BackbonesOption = Annotated[str, typer.Option("--backbones", help="Encoders for --models, such as resnet50,resnet101.")]


def benchmark(
    suite: Annotated[
        Path,
        typer.Argument(help="TOML file, or the name of a suite that comes with the program, such as d_lesions or d."),
    ],
    out: OutOption,
    data: DataOption = Path("."),
    weights: WeightsOption = Path("."),
    reduced: Annotated[bool, typer.Option("--reduced", help="Use the smaller size that the suite defines.")] = False,
    row: RowOption = None,
    models: ModelsOption = "",
    backbones: BackbonesOption = "",
    changes: SetOption = None,
    at_once: AtOnceOption = 0,
    device: DeviceOption = None,
    max_memory: MaxMemoryOption = None,
    per_row: PerRowOption = 1,
    workers: WorkersOption = 0,
    scheduler: SchedulerOption = "",
    memory: WorkerMemoryOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Train and compare the networks or settings of a suite.

    Each row of the suite is trained and scored on the same data; the results are in table.csv, table.md and table.html.
    Finished rows are not trained again. The exit code is 1 if a row failed; the others are in the table. Ctrl+C writes
    the table of what is done, and the exit code is 130.
    """
    from training.benchmark.runner import BenchmarkFolders, plan_suite_runs
    from training.benchmark.suite import parse_setting, read_suite

    choice = choose_cluster(workers, scheduler, memory, tls_ca, tls_cert, tls_key)
    whole = read_suite(_find_suite(suite))
    chosen = (
        (whole.make_reduced() if reduced else whole)
        .expand_grid(split_words(models), split_words(backbones))
        .select_rows(row or [])
    )
    settings = [parse_setting(text) for text in changes or ()]
    if (checked := check_device(device)) is not None:
        settings.append({"recipe": {"run": {"device": checked}}})
    planned = plan_suite_runs(chosen, settings, out)
    where, console = BenchmarkFolders(data.absolute(), weights.absolute(), out), make_progress_console(quiet=False)
    console.print(f"{chosen.title}: {len(planned)} rows, {sum(one.is_done for one in planned)} done already")
    failures: dict[str, str] = {}
    was_stopped = False
    try:
        for ended in _run_rows(choice, planned, where, at_once, per_row, has_device=bool(checked)):
            if ended.message:
                failures[ended.planned.row.name] = ended.message
            console.print(f"{ended.planned.row.name}: {ended.message or 'done'}", markup=False)
    except KeyboardInterrupt:
        was_stopped = True
    _write_tables(chosen, planned, failures, out)
    if failures:
        typer.echo(f"medseg: {len(failures)} of {len(planned)} rows failed; the table gives the reasons.", err=True)
    if failures or was_stopped:
        raise typer.Exit(INTERRUPTED if was_stopped else 1)


def _run_rows(
    choice: ClusterChoice | None,
    planned: "Sequence[PlannedRun]",
    where: "BenchmarkFolders",
    at_once: int,
    per_row: int,
    *,
    has_device: bool,
) -> "Iterator[RowEnded]":
    """Run the rows in processes of this command, or on the workers of a choice."""
    from napari_medseg.inference.device import list_devices
    from training.benchmark.runner import run_rows

    if choice is None:
        n_gpus = 0 if has_device else sum(one.kind == "cuda" and not one.problem for one in list_devices())
        yield from run_rows(planned, where, at_once or max(1, n_gpus // per_row), n_gpus, per_row)
        return
    if at_once:
        raise MedSegError("--at-once is for one machine without --workers and --scheduler: each worker trains one row.")
    with open_chosen_cluster(choice) as cluster:
        from napari_medseg.workflow.cluster.training_rows import run_rows_on_cluster

        assert cluster is not None
        yield from run_rows_on_cluster(cluster, planned, where, per_row)


def _write_tables(chosen: "Suite", planned: "Sequence[PlannedRun]", failures: dict[str, str], out: Path) -> None:
    from training.benchmark.table import read_suite_figures, read_table_rows, write_tables

    lines, pictures = read_table_rows(planned, failures), dict(read_suite_figures(planned))
    for path in write_tables(chosen, lines, shlex.join(["medseg", *sys.argv[1:]]), out, pictures):
        echo(str(path))


def _find_suite(suite: Path) -> Path:
    """Return the file of a suite; a name or its letter means one that comes with the program."""
    if suite.exists() or suite.parent != Path() or suite.suffix:
        return suite
    import training

    bundled = sorted((Path(training.__file__).parent / "suites").glob("*.toml"))
    names = [path.stem for path in bundled]
    wanted = suite.name.lower()
    for path, name in zip(bundled, names, strict=True):
        if wanted in (name, name.partition("_")[0]):
            return path
    raise MedSegError(f"there is no suite {suite.name!r}; choose among {', '.join(names)}, or give a TOML file.")
