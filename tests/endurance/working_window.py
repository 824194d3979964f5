"""A dock in which someone works without a pause, and a look at the project after the process was killed."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kills import digest
from napari.components import ViewerModel
from plugin_phantoms import PhantomEngine, write_phantom, write_version

from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.records import Case, Prediction, Review
from napari_medseg.plugin.dock import Dock
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.review import open_review
from napari_medseg.workflow.workspace import Workspace

N_STROKES = 6
PATIENCE_S = 60.0


def prepare(folder: Path) -> None:
    write_version(folder / "bundled" / "lungs-unet" / "1")


def open_workspace(folder: Path) -> Workspace:
    place = folder / "project"
    project = Project.open(place) if (place / DATABASE).exists() else Project.create(place)
    registry = ModelRegistry(folder / "registry", folder / "bundled")
    return Workspace(project, registry, PhantomEngine(), samples=folder)


def work(folder: Path, pipe: int, first: int) -> None:
    """Drop, paint, accept, again and again; say what is done when it is done. Ends only by a signal."""
    from qtpy.QtWidgets import QApplication

    app = QApplication([])
    ws = open_workspace(folder)
    dock = Dock(ViewerModel(), ws)
    dock.show()

    def say(what: str, number: int, labels: np.ndarray) -> None:
        line = {"what": what, "number": number, "labels": digest(labels)}
        os.write(pipe, json.dumps(line).encode() + b"\n")

    def wait(condition: Callable[[], Any]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until, "the dock does not go on"
            app.processEvents()
            time.sleep(0.001)

    def is_ready(name: str) -> bool:
        current = dock.case_controller.current
        return (
            current is not None
            and current.case.name == name
            and current.edit_session is not None
            and dock.prediction_queue.running_request is None
        )

    rng = np.random.default_rng(first)
    for number in range(first, first + 1000):
        dock.worklist.importer.read([write_phantom(folder / "in", number)])
        wait(lambda number=number: any(row.case.file_name == f"case{number}" for row in dock.worklist.rows))
        case = next(row.case for row in dock.worklist.rows if row.case.file_name == f"case{number}")
        dock.worklist.open(case)
        wait(lambda case=case: is_ready(case.name))
        current = dock.case_controller.current
        layer, review = current.labels_layer, current.edit_session.draft.review
        layer.brush_size = 5
        for _ in range(N_STROKES):
            layer.paint(tuple(rng.integers(3, 45, 2)), 1 + int(rng.integers(2)))
            say("stroke", review.id, layer.data)
            app.processEvents()
        labels = layer.data.copy()
        with_decision = []
        dock.case_controller.decided.connect(lambda *_, done=with_decision: done.append(True))
        dock.review_panel.accept()
        wait(lambda done=with_decision: done)
        say("accepted", case.id, labels)


def check(folder: Path, said: Sequence[dict[str, Any]]) -> list[str]:
    """Return what was said and is not there; opens the project as the next start does."""
    ws = open_workspace(folder)
    faults = []
    try:
        accepted = {case.id: (case, correction) for case, correction in list_current_corrections(ws)}
        for line in said:
            if line["what"] == "accepted":
                case, correction = accepted.get(line["number"], (None, None))
                if case is None:
                    faults.append(f"the accepted case {line['number']} is missing")
                elif digest(read_case_labels(ws.project.folder, case, correction)) != line["labels"]:
                    faults.append(f"the accepted case {line['number']} has other labels")
        strokes = [line for line in said if line["what"] == "stroke"]
        if strokes:
            review = ws.project.get_record(Review, strokes[-1]["number"])
            last = [line["labels"] for line in strokes if line["number"] == review.id]
            if review.case_id not in accepted and (fault := _look_for_strokes(ws, review, last)):
                faults.append(fault)
    finally:
        ws.close()
    return faults


def _look_for_strokes(ws: Workspace, review: Review, said: Sequence[str]) -> str:
    """Say which strokes of a draft are missing: undo from the last one must pass through all states, in order."""
    case = ws.project.get_record(Case, review.case_id)
    prediction = ws.project.get_record(Prediction, review.prediction_id)
    draft = open_review(ws, case, prediction)
    try:
        if draft.review.id != review.id:
            return f"the draft {review.id} was not opened again"
        states = [digest(draft.labels)]
        while draft.undo() is not None:
            states.append(digest(draft.labels))
        states.reverse()
        kept = [state for state in states if state in set(said)]
        distinct = list(dict.fromkeys(said))
        return "" if list(dict.fromkeys(kept)) == distinct else f"{len(distinct) - len(set(kept))} strokes are missing"
    finally:
        draft.close()
