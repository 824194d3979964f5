"""Images of both sides are compared once: what was compared before is kept, and a damaged file costs only time."""

from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom, predicted

from napari_medseg.core.image import Image
from napari_medseg.core.quality.shared_content import FingerprintBook, find_shared_content
from napari_medseg.core.records import Case
from napari_medseg.workflow.hold_out import content_check
from napari_medseg.workflow.hold_out.content_check import (
    CHECKS_FOLDER,
    COMPARISONS_FILE,
    find_shared_cases,
    iter_shared_cases,
    read_case_fingerprint,
)
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def cases(ws: Workspace) -> list[Case]:
    """Four cases, then copies of the first and the third under other names and with more bits."""
    found = [accepted(ws, number) for number in range(4)]
    for number in (2, 0):
        pixels = phantom(number).pixels.astype(np.uint16)
        image = Image(pixels, "YX", (0.7, 0.7), name=f"copy {number}", group=f"other {number}")
        case, prediction = predicted(ws, image)
        draft = open_review(ws, case, prediction)
        accept(ws, draft, draft.labels, image)
        found.append(case)
    return found


def count_compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record each image that is really compared."""
    compared: list[int] = []
    find = FingerprintBook.find_shared

    def counted(book: FingerprintBook, *arguments: object) -> object:
        compared.append(1)
        return find(book, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FingerprintBook, "find_shared", counted)
    return compared


def test_the_kept_result_is_that_of_a_comparison(
    ws: Workspace, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, learnt, held_out = ws.project.folder, cases[:4], cases[4:]
    expected = find_shared_content(
        *([read_case_fingerprint(folder, one) for one in side] for side in (learnt, held_out))
    )
    assert {(one.one, one.other) for one in expected if one.is_copy} == {(0, 1), (2, 0)}
    compared = count_compared(monkeypatch)
    assert find_shared_cases(folder, learnt, held_out) == expected
    assert len(compared) == 4
    assert find_shared_cases(folder, learnt, held_out) == expected
    assert find_shared_cases(folder, learnt[2:], held_out[:1])[0].one == 0
    assert len(compared) == 4, "nothing was compared again"
    monkeypatch.setattr(content_check, "MAX_PLANES_IN_MEMORY", 1)
    (folder / CHECKS_FOLDER / COMPARISONS_FILE).unlink()
    assert find_shared_cases(folder, learnt, held_out) == expected, "hold-out cases one at a time"


def test_what_was_compared_before_a_cancel_is_kept(
    ws: Workspace, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = count_compared(monkeypatch)
    steps = iter_shared_cases(ws.project.folder, cases[:4], cases[4:])
    next(steps)
    next(steps)
    steps.close()
    find_shared_cases(ws.project.folder, cases[:4], cases[4:])
    assert len(compared) == 4


@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file_is_made_again(ws: Workspace, cases: list[Case], damage: bytes) -> None:
    folder: Path = ws.project.folder
    expected = find_shared_cases(folder, cases[:4], cases[4:])
    (folder / CHECKS_FOLDER / COMPARISONS_FILE).write_bytes(damage)
    assert find_shared_cases(folder, cases[:4], cases[4:]) == expected
