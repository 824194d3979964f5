"""Progress of a run over many cases: how many, how fast, and how long it will take."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from napari_medseg.cli.console import echo_notice, make_progress_console
from napari_medseg.workflow.cluster.case_run import CaseRun, RunProgress
from napari_medseg.workflow.whole_slide.texts import format_seconds


def follow_cases(run: CaseRun, title: str, *, quiet: bool) -> None:
    """Do the cases of a run, and show how far it is; raises as `CaseRun.run`."""
    if told := describe_start(run):
        echo_notice(told)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=make_progress_console(quiet=quiet)) as bars:
        bar = bars.add_task(title, total=None, pace="")
        for progress in run.run():
            bars.update(bar, total=progress.total, completed=progress.done, pace=describe_pace(progress))


def describe_start(run: CaseRun) -> str:
    """Return what a start finds of earlier ones, as a sentence; empty if nothing."""
    kept = f"{run.n_kept:,} of {len(run.records_of):,} cases were done before and are kept" if run.n_kept else ""
    again = f"{run.n_repeated:,} failed before and are done again" if run.n_repeated else ""
    return "; ".join(filter(None, (kept, again))) + "." if kept or again else ""


def describe_pace(progress: RunProgress) -> str:
    """Return rate, time left and failures, such as ``12.3 a minute, 40 min left, 2 failed``."""
    pace = [f"{progress.per_minute:.1f} a minute"] if progress.seconds_left is not None else []
    if progress.seconds_left and progress.done < progress.total:
        pace.append(f"{format_seconds(progress.seconds_left)} left")
    if progress.n_failed:
        pace.append(f"{progress.n_failed:,} failed")
    return ", ".join(pace)
