"""`medseg check`: what is found in accepted labels, and the exit code that stops a script before it trains."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from workflow_phantoms import accepted, phantom, phantom_labels, predicted

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.image import Image
from napari_medseg.core.records import Correction, Review, ReviewState, now
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def add_swapped_labels(ws: Workspace, correction: Correction, image: Image) -> None:
    """Add a correction that no check has seen, as an earlier version could accept it."""
    path = ws.project.folder / correction.labels_file
    path = path.with_name(f"swapped-{path.name}")
    formats.write_labels(path, np.array([0, 2, 1], np.uint8)[phantom_labels()], image)
    review = Review(0, correction.case_id, None, ReviewState.ACCEPTED, 9.0, 1, "", now(), now())
    review = ws.project.insert(review)
    changes = {"labels_file": f"labels/{path.name}", "sha256": compute_file_sha256(path)}
    ws.project.insert(replace(correction, id=0, review_id=review.id, **changes))


def test_a_copy_of_a_hold_out_image_is_listed_and_a_finding_that_blocks_training_ends_with_exit_code_1(
    medseg: Call, ws: Workspace, tmp_path: Path
) -> None:
    held_out = accepted(ws, 0)
    set_held_out(ws, held_out.group, True)
    where = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    ws.close()
    code, out, _ = medseg("check", *where)
    assert (code, "look  the hold-out has accepted cases of 1 patient;" in out) == (0, True)
    again = Workspace.open(ws.project.folder, tmp_path / "registry")
    repeated = replace(phantom(0, "another patient"), name="slice 0 once more", spacing_mm=(0.9, 0.9))
    case, prediction = predicted(again, repeated)
    draft = open_review(again, case, prediction)
    correction = accept(again, draft, draft.labels, repeated)
    set_held_out(again, case.group, False)
    again.close()
    code, out, _ = medseg("check", "--json", *where)
    answer = json.loads(out)
    found = [(one["name"], one["kind"], one["blocking"]) for one in answer["findings"]]
    assert (code, found[-1]) == (0, ("patient 2 case 2", "duplicate", False))
    assert answer["hold_out_groups"] == 1 < answer["hold_out_groups_needed"]
    ws = Workspace.open(ws.project.folder, tmp_path / "registry")
    add_swapped_labels(ws, correction, repeated)
    ws.close()
    code, out, _ = medseg("check", *where)
    assert (code, "STOP  patient 2 case 2" in out) == (1, True)
