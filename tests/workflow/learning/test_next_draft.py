"""The next draft comes from the adapted state or, whatever is wrong with it, from the live version."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from learning_phantoms import FolderEngine, write_state
from workflow_phantoms import accepted, phantom, write_version

from napari_medseg.core.records import Case, Correction, Prediction
from napari_medseg.workflow.case_list.ranking import needs_prediction
from napari_medseg.workflow.cases import add_cases, get_case_row, list_cases
from napari_medseg.workflow.guidance.probability_cache import explain_missing_model, get_prediction_path
from napari_medseg.workflow.learning.next_draft import choose_state, find_state, find_withdrawn_drafts
from napari_medseg.workflow.learning.states import AdaptedState
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.review import accept, open_review, predict, record_prediction, reject
from napari_medseg.workflow.storage.disk_use import clear_files, list_clearable_files, measure_disk_use
from napari_medseg.workflow.storage.file_kinds import FileKind
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def ws(ws: Workspace) -> Workspace:
    ws.engine = FolderEngine()
    ws.adapted.is_on = True
    return ws


@pytest.fixture
def learnt(ws: Workspace) -> AdaptedState:
    """A state that has seen two accepted cases, in use."""
    for number in (1, 2):
        accepted(ws, number, "patient 1")
    state = write_state(ws, tuple(one.id for one in ws.project.read_records(Correction)))
    ws.adapted.keep(state)
    return state


def draft(ws: Workspace, number: int) -> tuple[Case, Prediction, list[str]]:
    """Predict a new case as the window does; return what was told, too."""
    image = phantom(number, f"patient {number}")
    case = add_cases(ws, [image], "lungs")[0]
    events = list(predict(ws, case, image, "lungs-unet@1", state=find_state(ws, "lungs", "lungs-unet@1")))
    return case, record_prediction(ws, case, events[-1], "lungs-unet@1"), ws.adapted.take_notices()


def test_prediction_and_correction_record_parent_corrections_and_weights(
    ws: Workspace, learnt: AdaptedState, tmp_path: Path
) -> None:
    case, prediction, told = draft(ws, 3)
    assert ws.engine.used == [b"adapted"]
    assert not told
    assert (prediction.model, prediction.adapted_sha256) == ("lungs-unet@1", learnt.sha256)
    assert prediction.adapted_corrections == learnt.corrections == (1, 2)
    assert prediction.model_title == learnt.title == "lungs-unet@1 + 2 cases"

    opened = open_review(ws, case, prediction)
    accept(ws, opened, opened.labels, phantom(3))
    rows = [row for row in list_accepted_rows(ws, "lungs") if row[0].id == case.id]
    assert rows[0][1].model_title == "lungs-unet@1 + 2 cases"
    export_corrections(read_export_items(ws, rows), tmp_path / "out", ".tif", with_images=False)
    entry = json.loads((tmp_path / "out" / "provenance.json").read_text())["cases"][0]
    assert entry["model"] == "lungs-unet@1"
    assert entry["adapted"] == {"weights_sha256": learnt.sha256, "corrections": [1, 2]}


def test_a_correction_of_a_draft_of_the_version_itself_names_no_state(ws: Workspace) -> None:
    case = accepted(ws, 1)
    assert get_case_row(ws, case).correction.adapted_sha256 == ""
    assert get_case_row(ws, case).correction.model_title == "lungs-unet@1"


def test_without_the_switch_the_live_version_predicts(ws: Workspace, learnt: AdaptedState) -> None:
    ws.adapted.is_on = False
    assert draft(ws, 3)[1].adapted_sha256 == ""
    assert ws.engine.used == [b"weights"]
    ws.adapted.is_on = True
    assert find_state(ws, "lungs", "lungs-unet@1") is learnt, "switched on again, it goes on"


def test_a_workspace_predicts_with_the_live_version_until_a_window_turns_it_on(
    open_workspace: Callable[[], Workspace],
) -> None:
    ws = open_workspace()
    accepted(ws, 1)
    ws.adapted.keep(write_state(ws, (1,)))
    assert find_state(ws, "lungs", "lungs-unet@1") is None


@pytest.mark.parametrize("harm", ["damaged", "empty", "weights gone", "folder gone", "card gone", "another card"])
def test_a_state_with_damaged_files_falls_back_and_says_so_once(ws: Workspace, learnt: AdaptedState, harm: str) -> None:
    weights, card = learnt.folder / "model.safetensors", learnt.folder / "card.json"
    if harm in ("damaged", "empty"):
        weights.write_bytes(b"adapteD" if harm == "damaged" else b"")
    elif harm == "folder gone":
        for path in learnt.folder.iterdir():
            path.unlink()
        learnt.folder.rmdir()
    elif harm == "another card":
        card.write_bytes((ws.registry.get_folder("lungs-unet@1") / "card.json").read_bytes())
    else:
        (weights if harm == "weights gone" else card).unlink()

    _, prediction, told = draft(ws, 3)
    assert ws.engine.used == [b"weights"]
    assert prediction.adapted_sha256 == ""
    assert len(told) == 1
    assert "lungs-unet@1 drafts without what it learnt from 2 cases" in told[0]
    assert not draft(ws, 4)[2]
    assert not learnt.folder.exists()


def test_a_state_that_the_engine_cannot_use_falls_back(ws: Workspace, learnt: AdaptedState) -> None:
    ws.engine.broken = (b"adapted",)
    _, prediction, told = draft(ws, 3)
    assert ws.engine.used == [b"adapted", b"weights"]
    assert prediction.adapted_sha256 == ""
    assert len(told) == 1
    assert "ended unexpectedly" in told[0]


def test_an_image_that_no_version_can_predict_costs_no_state(ws: Workspace, learnt: AdaptedState) -> None:
    ws.engine.broken = (b"adapted", b"weights")
    with pytest.raises(Exception, match="ended unexpectedly"):
        draft(ws, 3)
    assert find_state(ws, "lungs", "lungs-unet@1") is learnt


def test_another_live_version_ends_the_state(ws: Workspace, learnt: AdaptedState, tmp_path: Path) -> None:
    ws.registry.add(write_version(tmp_path / "new", 2, b"better"))
    assert find_state(ws, "lungs", "lungs-unet@2") is None, "only the live version is adapted"
    ws.registry.promote("lungs-unet@2")
    assert find_state(ws, "lungs", "lungs-unet@2") is None
    assert ws.adapted.get("lungs") is None
    assert not learnt.folder.exists()


def test_a_withdrawn_correction_leaves_the_next_drafts(ws: Workspace, learnt: AdaptedState) -> None:
    case = ws.project.read_accepted_cases("lungs")[0][0]
    reject(ws, open_review(ws, case, None))
    _, prediction, told = draft(ws, 3)
    assert prediction.adapted_sha256 == ""
    assert ws.engine.used == [b"weights"]
    assert told == ["lungs-unet@1 drafts without what it learnt: an accepted case was changed or withdrawn."]


def test_a_case_that_is_corrected_again_leaves_the_next_drafts(ws: Workspace, learnt: AdaptedState) -> None:
    case = ws.project.read_accepted_cases("lungs")[0][0]
    again = open_review(ws, case, None)
    again.record([5], 0, 2)
    accept(ws, again, again.labels, phantom(1))
    assert find_state(ws, "lungs", "lungs-unet@1") is None


def test_a_blind_second_reading_is_not_predicted_by_a_state_that_learnt_from_the_first(
    ws: Workspace,
) -> None:
    ws.reader.set_name("Anna")
    case = accepted(ws, 1)
    learnt = write_state(ws, (1,))
    ws.adapted.keep(learnt)
    assert choose_state(ws, case, "lungs-unet@1") is learnt
    ws.reader.set_name("Ben")
    ws.second_readings.choose(case, is_chosen=True)
    assert choose_state(ws, case, "lungs-unet@1") is None


def test_next_cases_are_predicted_again_by_a_newer_state(ws: Workspace, learnt: AdaptedState) -> None:
    case, prediction, _ = draft(ws, 3)
    row = get_case_row(ws, case)
    assert not needs_prediction(row, "lungs-unet@1")
    assert not needs_prediction(row, "lungs-unet@1", learnt.sha256)
    assert needs_prediction(row, "lungs-unet@1", "another")
    assert needs_prediction(row, "lungs-unet@1", "")

    opened = open_review(ws, case, prediction)
    first = opened.labels.copy()
    opened.close()
    ws.adapted.drop(learnt)
    _, newer, _ = draft(ws, 3)
    follows = open_review(ws, case, newer)
    assert (follows.labels[:5, :5] == 0).all(), "it shows the newest prediction"
    assert (first[:5, :5] == 1).all()
    n_strokes = follows.can_undo
    follows.close()
    again = open_review(ws, case, newer)
    assert again.can_undo == n_strokes


def test_probabilities_of_states_do_not_meet_and_a_replaced_state_is_told(ws: Workspace, learnt: AdaptedState) -> None:
    case, by_state, _ = draft(ws, 3)
    folder = ws.project.folder
    assert explain_missing_model(ws, by_state) == ""
    ws.adapted.drop(learnt)
    _, by_version, _ = draft(ws, 3)
    assert get_prediction_path(folder, case, by_state) != get_prediction_path(folder, case, by_version)
    assert "lungs-unet@1 + 2 cases" in explain_missing_model(ws, by_state)
    assert explain_missing_model(ws, by_version) == ""


def test_disk_use_knows_the_files_and_clearing_them_costs_nothing(ws: Workspace, learnt: AdaptedState) -> None:
    folder = ws.project.folder
    assert measure_disk_use(folder).n_files[FileKind.ADAPTED] == 4
    files = [file for file in list_clearable_files(folder, ()) if file.kind is FileKind.ADAPTED]
    clear_files(folder, files)
    assert not learnt.folder.exists()
    assert draft(ws, 3)[1].adapted_sha256 == ""


def test_untouched_drafts_that_learnt_from_a_withdrawn_correction_are_predicted_again(
    ws: Workspace, learnt: AdaptedState
) -> None:
    of_both = draft(ws, 3)[0]
    ws.adapted.keep(write_state(ws, (1,), b"other"))
    of_first, of_live = draft(ws, 4)[0], add_cases(ws, [phantom(5)], "lungs")[0]
    rows = list_cases(ws, "lungs")
    assert find_withdrawn_drafts(ws, rows, find_state(ws, "lungs", "lungs-unet@1")) == set()

    second = ws.project.read_accepted_cases("lungs")[1][0]
    reject(ws, open_review(ws, second, None))
    state = find_state(ws, "lungs", "lungs-unet@1")
    assert state is not None, "it learnt from the first case only"
    assert find_withdrawn_drafts(ws, rows, state) == {of_both.id}

    ws.adapted.is_on = False
    assert find_withdrawn_drafts(ws, rows, None) == {of_both.id, of_first.id}
    opened = open_review(ws, of_first, get_case_row(ws, of_first).prediction)
    opened.record([5], 0, 2)
    opened.close()
    assert find_withdrawn_drafts(ws, list_cases(ws, "lungs"), None) == {of_both.id}, "work on a draft is kept"
    assert of_live.id not in {of_both.id, of_first.id}


def test_an_image_like_the_training_images_is_left_to_the_version(ws: Workspace, learnt: AdaptedState) -> None:
    ws.engine.known = (b"adapted",)
    case, prediction, told = draft(ws, 3)
    assert ws.engine.used == [b"adapted", b"weights"]
    assert (prediction.adapted_sha256, prediction.adapted_corrections, told) == ("", (), [])
    assert find_state(ws, "lungs", "lungs-unet@1") is learnt, "other images are drafted by it"
    assert ws.adapted.is_left_to_version(learnt, case), "it is not predicted again and again"
    assert not ws.adapted.is_left_to_version(None, case)
