"""Time and memory of a project with thousands of corrections: opening it, checks, the snapshot of a run, the report.

The project has phantoms of 256 pixels with five images per patient, drafts that differ from the corrections, a share of
held-out patients, and some runs. It is built once, and measured again in later calls.

    python benchmarks/large_project.py build FOLDER --cases 2000
    python benchmarks/large_project.py measure FOLDER
    python benchmarks/large_project.py press FOLDER

`press` measures a press of Retrain as the window does it: the corrections are checked beforehand, then the run starts.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.records import Run, RunState, now
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.cases import add_cases, list_cases
from napari_medseg.workflow.data_checks import check_corrections, find_problems
from napari_medseg.workflow.report.write import write_project_report
from napari_medseg.workflow.retrain import start_checked_run
from napari_medseg.workflow.review import accept, open_review, record_prediction
from napari_medseg.workflow.run_control import poll_run
from napari_medseg.workflow.run_plan import RunRequest
from napari_medseg.workflow.storage.check import check_project
from napari_medseg.workflow.storage.disk_use import measure_disk_use
from napari_medseg.workflow.storage.pack import pack_project
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Compared, Finished, append_event

SIDE_PX = 256
IMAGES_PER_PATIENT = 5
BATCH = 100
N_RUNS = 6


def main() -> None:
    """Build or measure a project, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("build", "measure", "press"))
    parser.add_argument("--budget-s", type=float, default=90.0, help="of the run that `press` starts")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--only", default="", help="measure only the steps whose name begins with this")
    options = parser.parse_args()
    if options.action == "build":
        build(options.folder, options.cases)
    elif options.action == "press":
        press(options.folder, options.budget_s)
    else:
        measure(options.folder, options.only)


def build(folder: Path, n_cases: int) -> None:
    """Add, predict, correct and accept phantoms, and write the runs."""
    ws = Workspace.open(folder / "project", folder / "registry")
    for begin in range(0, n_cases, BATCH):
        images = [make_phantom(number) for number in range(begin, min(begin + BATCH, n_cases))]
        cases = add_cases(ws, [image for image, _ in images], "lungs")
        for (image, labels), case in zip(images, cases, strict=True):
            draft = labels.copy()
            draft[: SIDE_PX // 2 - case.id % 40] = 0
            result = PredictionResult(draft, 0.1, None, 1.5, "CPU")
            review = open_review(ws, case, record_prediction(ws, case, result, "lungs-unet@4"))
            changed = np.flatnonzero(draft.ravel() != labels.ravel())
            review.record(changed, 0, labels.ravel()[changed])
            review.add_seconds(20.0 + case.id % 60)
            accept(ws, review, labels, image)
        print(f"{begin + BATCH} of {n_cases}", file=sys.stderr, flush=True)
    for number in range(N_RUNS):
        write_run(ws, number)
    ws.close()


def make_phantom(number: int) -> tuple[Image, NDArray[np.uint8]]:
    """Return a grey image with two lungs of its own shape and texture, and its labels."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    labels = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    for value, middle in ((1, 0.3), (2, 0.7)):
        y, x = 0.5 + rng.normal(0, 0.03), middle + rng.normal(0, 0.02)
        height, width = 0.25 + rng.normal(0, 0.03), 0.13 + rng.normal(0, 0.015)
        labels[((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1] = value
    texture = ndimage.gaussian_filter(rng.normal(0, 1, labels.shape), 2) * 120
    pixels = np.clip(np.where(labels > 0, 60, 170) + texture, 0, 255).astype(np.uint8)
    patient = number // IMAGES_PER_PATIENT
    return Image(pixels, "YX", (0.7, 0.7), name=f"slice {number}", group=f"patient {patient}"), labels


def write_run(ws: Workspace, number: int) -> None:
    """Write the row and the events of a run that was not trained."""
    folder = ws.project.folder / "runs" / f"run-{number}"
    folder.mkdir(parents=True)
    for case in range(40):
        old = 0.9 + 0.008 * number + 0.0005 * case
        append_event(folder, Compared(f"case {case}", "corrections", old, old + 0.006, {}, {}, f"group {case}"))
    append_event(folder, Finished(3, 0.95, cancelled=False, seconds=90.0))
    state = RunState.KEPT_OLD if number % 3 == 2 else RunState.PROMOTED
    ws.project.insert(Run(f"run-{number}", "lungs", "lungs-unet@4", f"runs/run-{number}", state, 300, None, now()))


def measure(folder: Path, only: str) -> None:
    """Print seconds, processor seconds and the peak memory of each step; a step after the first reads warm files."""
    rows: dict[str, Any] = {}

    def step(name: str, work: Callable[[], object]) -> Any:  # noqa: ANN401 -- whatever the step returns
        if only and not name.startswith(only) and name != "open":
            return None
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        rows[name] = {"s": time.perf_counter() - began, "cpu_s": time.process_time() - busy, "peak_mib": peak}
        print(
            f"{name:28} {rows[name]['s']:8.2f} s {rows[name]['cpu_s']:8.2f} s of the processor {peak:6} MiB", flush=True
        )
        return result

    ws = step("open", lambda: Workspace.open(folder / "project", folder / "registry"))
    step("list", lambda: list_cases(ws, "lungs"))
    step("size", lambda: measure_disk_use(folder / "project"))
    step("checks", lambda: check_corrections(ws, "lungs"))
    step("checks again", lambda: check_corrections(ws, "lungs"))
    step("snapshot", lambda: build_snapshot(ws, "lungs"))
    step("snapshot again", lambda: build_snapshot(ws, "lungs"))
    registry = ModelRegistry(ws.registry.user_dir, ws.registry.bundled_dir)
    step("report", lambda: finish(write_project_report(folder / "project", registry, folder / "out")))
    step("verify", lambda: finish(check_project(folder / "project", registry)))
    step("pack", lambda: finish(pack_project(folder / "project", folder / "a.zip", registry, replace=True)))
    ws.close()
    (folder / "measured.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def press(folder: Path, budget_s: float) -> None:
    """Print what happens between a press of Retrain and the end of the run: seconds, and memory of both processes."""
    ws = Workspace.open(folder / "project", folder / "registry")

    def step(name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 -- whatever the step returns
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        took = f"{time.perf_counter() - began:8.2f} s {time.process_time() - busy:8.2f} s of the processor"
        print(f"{name:28} {took} {peak:6} MiB", flush=True)
        return result

    step("check, first time", lambda: find_problems(ws, "lungs"))
    checked = step("check, kept", lambda: find_problems(ws, "lungs"))
    began = time.perf_counter()
    run = step("press to started process", lambda: start_checked_run(ws, "lungs", RunRequest(budget_s), checked))
    trainer, offset, peak_mib, busy_s, seen = ws.child_processes[run.id], 0, 0, 0.0, set[str]()
    while not seen & {"Finished", "Failed"} and trainer.poll() is None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{trainer.pid}/status").read_text()
            peak_mib = max(peak_mib, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
            fields = Path(f"/proc/{trainer.pid}/stat").read_text().rpartition(")")[2].split()
            busy_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        events, offset = poll_run(ws, run, offset)
        for event in events:
            name = type(event).__name__
            if name not in seen or name == "Failed":
                after = f"{time.perf_counter() - began:8.2f} s after the press, {busy_s:6.1f} s of its processor"
                print(f"{name:28} {after}, {peak_mib} MiB", flush=True)
            seen.add(name)
        time.sleep(0.1)
    print(f"{'ended':28} {time.perf_counter() - began:8.2f} s after the press, trainer {peak_mib} MiB", flush=True)
    ws.close()


def finish(work: Generator[object, None, Any]) -> Any:  # noqa: ANN401 -- whatever the generator returns
    """Run a generator to its result."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            return ended.value


if __name__ == "__main__":
    main()
