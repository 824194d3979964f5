"""Adapted states on disk: what a restart finds, and what it removes."""

from collections.abc import Callable

from learning_phantoms import write_state
from workflow_phantoms import accepted

from napari_medseg.workflow.learning.next_draft import find_state
from napari_medseg.workflow.workspace import Workspace


def test_restart_finds_the_newest_state_and_removes_what_was_not_finished(
    open_workspace: Callable[[], Workspace],
) -> None:
    ws = open_workspace()
    accepted(ws, 1)
    ws.adapted.keep(write_state(ws, (1,)))
    unfinished = ws.adapted.make_folder()
    (unfinished / "model.safetensors").write_bytes(b"half")
    damaged = write_state(ws, (1,), b"later")
    (damaged.folder / "model.safetensors").write_bytes(b"other")

    again = open_workspace()
    again.adapted.is_on = True
    state = find_state(again, "lungs", "lungs-unet@1")
    assert state is not None
    assert state.title == "lungs-unet@1 + 1 case"
    assert not unfinished.exists()
    assert not damaged.folder.exists()


def test_only_the_newest_states_stay(ws: Workspace) -> None:
    states = []
    for number in range(3):
        states.append(write_state(ws, (1,), f"weights {number}".encode()))
        ws.adapted.keep(states[-1])
    assert [state.folder.exists() for state in states] == [False, True, True], "one may be predicting"
    assert ws.adapted.get("lungs") is states[-1]


def test_a_state_that_was_replaced_is_not_dropped_for_another(ws: Workspace) -> None:
    older, newer = write_state(ws, (1,)), write_state(ws, (1,), b"newer")
    ws.adapted.keep(older)
    ws.adapted.keep(newer)
    ws.adapted.drop(older, "damaged")
    assert ws.adapted.get("lungs") is newer
    assert not ws.adapted.take_notices()
