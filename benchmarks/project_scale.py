"""A project of 50 slides, 20 videos and 3,000 series in the real window: opening, list, thumbnails, and what is read.

    python benchmarks/project_scale.py build FOLDER
    xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/project_scale.py measure FOLDER
    python benchmarks/project_scale.py read FOLDER

`build` writes sources and project once (some minutes). `measure` opens the project in a window, scrolls, sorts and
filters; of an empty folder it tells what the window takes by itself. `read` counts the bytes that are read of a source
of each kind: to see that it is there, for a thumbnail, and to open a case. First, the system forgets all files.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from drop_pause import StandInEngine
from mixed_project import BROKEN_FILE, Sizes, build_project
from pause_meter import Pause, PauseMeter

from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case
from napari_medseg.plugin.case_table.thumbnails import load_thumbnail
from napari_medseg.plugin.demo.demo import open_window
from napari_medseg.plugin.demo.window_driver import WindowDriver
from napari_medseg.workflow import cases
from napari_medseg.workflow.case_images.look_up import find_image_problems
from napari_medseg.workflow.case_list.order import CaseOrder
from napari_medseg.workflow.workspace import Workspace

TASKS = ("lungs", "nuclei", "instruments")
PAGE = 4096


def main() -> None:
    """Build or measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("build", "measure", "read"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slides", type=int, default=50)
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--series", type=int, default=3000)
    parser.add_argument("--picture", type=Path, help="of the window with the list")
    options = parser.parse_args()
    if options.action == "build":
        build_project(options.folder, Sizes(options.slides, options.videos, options.series))
    elif options.action == "measure":
        measure(options.folder, options.picture)
    else:
        count_bytes(options.folder)


def measure(folder: Path, picture: Path | None) -> None:
    """Print how long opening takes, the longest pause of each step, and the memory."""
    forget_pages(folder)
    shutil.rmtree(folder / "project/cache/thumbnails", ignore_errors=True)
    before = read_counters()
    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    began, busy = time.perf_counter(), time.process_time()
    workspace = open_workspace(folder)
    tell("project opened", time.perf_counter() - began, time.process_time() - busy)
    viewer, widget = open_window(workspace)
    stage = WindowDriver(viewer, widget, folder)
    stage.dock.worklist.predicts_automatically = False
    tell("window with napari and dock", time.perf_counter() - began, time.process_time() - busy)
    while not stage.dock.worklist.case_list.is_complete:
        stage.process_events(0.01)
    tell("list complete", time.perf_counter() - began, time.process_time() - busy)
    kinds = tuple(str(folder / kind) for kind in ("slides", "videos", "series"))
    n_sources = len({path for path in opened if path.startswith(kinds)})
    print(f"{'read until then':36}{(read_counters() - before) / 2**20:8.1f} MiB, {n_sources} files of sources")
    if not (folder / BROKEN_FILE).exists():
        return
    stage.process_events(3.0)
    meter = PauseMeter()
    for step, pause in run_steps(stage, meter):
        show_pause(step, pause)
    problems = list(workspace.image_problems)
    broken = json.loads((folder / BROKEN_FILE).read_text())
    print(
        f"cases without an image: {len(problems)}; sources: { ({what: len(names) for what, names in broken.items()}) }"
    )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    if picture is not None:
        stage.dock.grab().save(str(picture))
    viewer.close()
    workspace.close()


def run_steps(stage: WindowDriver, meter: PauseMeter) -> Iterator[tuple[str, Pause]]:
    """Go through the list of each task as a person does."""
    dock, worklist = stage.dock, stage.dock.worklist
    panel = dock.case_panel.list_panel
    dock.prompt.hide()
    yield "list unfolded", meter.measure(lambda: dock.case_panel._unfold.setChecked(True), panel.isVisible)
    bar = panel.table.verticalScrollBar()
    worklist.choose_task("nuclei")
    stage.process_events(5.0)
    for task in TASKS:
        if worklist.task.name != task:
            yield (
                f"{task}: chosen",
                meter.measure(lambda task=task: worklist.choose_task(task), lambda: worklist.case_list.is_complete),
            )
        yield (
            f"{task}: images looked up",
            meter.measure(panel.images._look_for_all, lambda: panel.images._worker is None),
        )
        for share in (0.1, 0.5, 1.0):
            yield (
                f"{task}: scrolled to {share:.0%}, thumbnails made",
                meter.measure(
                    lambda share=share: bar.setValue(int(bar.maximum() * share)),
                    lambda: has_visible_thumbnails(panel),
                ),
            )
        yield f"{task}: scrolled through in 2 s", scroll_through(stage, meter, bar)
        for name in ("case", "state"):
            yield f"{task}: sorted by {name}", meter.measure(lambda name=name: panel._on_sort(name, True), lambda: True)
        for order in (CaseOrder.RANDOM, CaseOrder.USEFUL):
            place = panel._order.findData(order)
            yield (
                f"{task}: order {order}",
                meter.measure(lambda n=place: (panel._order.setCurrentIndex(n), panel._on_order(n)), lambda: True),
            )
        for what, text in (("searched", "2"), ("search cleared", "")):
            yield f"{task}: {what}", meter.measure(lambda text=text: panel._search.setText(text), lambda: True)
        for kind in ("no image", "all"):
            yield f"{task}: filter {kind}", meter.measure(lambda kind=kind: choose_kind(panel, kind), lambda: True)


def has_visible_thumbnails(panel: Any) -> bool:  # noqa: ANN401 -- the panel of the list
    """Whether each row that is seen has its picture, or none can be made."""
    table, thumbnails = panel.table, panel.thumbnails
    first, last = table.rowAt(0), table.rowAt(table.viewport().height() - 1)
    last = last if last >= 0 else panel.model.rowCount() - 1
    ids = [panel.model.get_case(row).id for row in range(max(0, first), last + 1)]
    return all(case_id in thumbnails._pictures or case_id in thumbnails._failed for case_id in ids)


def choose_kind(panel: Any, kind: str) -> None:  # noqa: ANN401 -- the panel of the list
    """Choose what the list shows, as a person does."""
    panel._kind.setCurrentText(kind)
    panel._apply_filter()


def scroll_through(stage: WindowDriver, meter: PauseMeter, bar: Any) -> Pause:  # noqa: ANN401 -- of Qt
    """Scroll from top to bottom in forty steps, as a wheel does."""
    steps = iter(range(41))

    def step() -> None:
        if (at := next(steps, None)) is not None:
            bar.setValue(bar.maximum() * at // 40)
            timer.start(50)

    from qtpy.QtCore import QTimer

    timer = QTimer(stage.dock)
    timer.setSingleShot(True)
    timer.timeout.connect(step)
    return meter.measure(step, lambda: bar.value() == bar.maximum())


def count_bytes(folder: Path) -> None:
    """Print the bytes that are read of sources of each kind."""
    workspace = open_workspace(folder)
    for task in TASKS:
        rows = [row for row in cases.list_cases(workspace, task) if row.state == "new"]
        chosen = [row.case for row in rows[5 :: max(1, len(rows) // 5)]][:5]
        every = [row.case for row in cases.list_cases(workspace, task)]
        look = count(lambda every=every: [*find_image_problems(workspace.project.folder, every)])
        print(f"{task}: all {len(every):,} looked up {look[0] / 2**10:8.1f} KiB in {look[1]:.3f} s")
        for case in chosen:
            size = sum(measure_source(Path(source)) for source in case.sources)
            drop_thumbnail(folder, case)
            small = count(lambda case=case: load_thumbnail(workspace, case, None))
            whole = count(lambda case=case: load(workspace, case))
            print(
                f"  source {size / 2**10:9.1f} KiB; thumbnail {small[0] / 2**10:8.1f} KiB, {small[1] * 1e3:6.1f} ms; "
                f"opened {whole[0] / 2**10:8.1f} KiB, {whole[1] * 1e3:6.1f} ms"
            )
    workspace.close()


def load(workspace: Workspace, case: Case) -> None:
    """Read a case; a damaged one is what the list tells."""
    from napari_medseg.core.errors import MedSegError

    try:
        cases.load_image(workspace, case)
    except MedSegError:
        print("  damaged or missing")


def count(work: Callable[[], object]) -> tuple[int, float]:
    """Return how many bytes the process read meanwhile, and the seconds."""
    before, began = read_counters(), time.perf_counter()
    work()
    return read_counters() - before, time.perf_counter() - began


def read_counters() -> int:
    """Return how many bytes this process has read, also from memory."""
    return int(Path("/proc/self/io").read_text().split()[1])


def measure_source(path: Path) -> int:
    """Return the bytes of a file, or of the one that holds a part."""
    file = path if path.is_file() else path.parent
    return file.stat().st_size if file.is_file() else 0


def drop_thumbnail(folder: Path, case: Case) -> None:
    """Remove a kept thumbnail."""
    from napari_medseg.plugin.case_table.thumbnails import get_thumbnail_path

    get_thumbnail_path(folder / "project", case).unlink(missing_ok=True)


def forget_pages(folder: Path) -> None:
    """Ask the system to forget the content of all files, so that they are read from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def open_workspace(folder: Path) -> Workspace:
    """Open the project with an engine that is not measured."""
    registry = ModelRegistry(folder / "registry", BUNDLED_MODELS)
    place = folder / "project"
    project = Project.open(place) if place.exists() else Project.create(place)
    return Workspace(project, registry, StandInEngine())


def tell(what: str, seconds: float, busy_s: float) -> None:
    """Print a time since the start."""
    print(f"{what:36}{seconds:8.2f} s {busy_s:8.2f} s of the processor", flush=True)


def show_pause(step: str, pause: Pause) -> None:
    """Print the longest pause of a step, and where it was if it is long."""
    line = f"{pause.longest_busy_ms:>6.0f} ms processor {pause.longest_ms:>6.0f} ms clock {pause.seconds:>6.2f} s"
    print(f"{step:<48}{line}", flush=True)
    if pause.longest_busy_ms > 60:
        for stack, n_times in pause.deepest.items():
            print(f"      {n_times:>4} {stack}")


if __name__ == "__main__":
    main()
