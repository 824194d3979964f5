"""The loop of learning: what a run may see, how it is followed, and what may go live."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import QUICK, accepted, phantom, phantom_labels, real_version, write_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import read_card
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.quality.promotion_gate import Decision
from napari_medseg.core.records import Case, Correction, Run, RunState, UnreadCorrection
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.run_control import is_alive, start_detached
from napari_medseg.workflow.run_outcome import find_waiting_comparison
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.evaluation.run_verdict import read_earlier_comparisons, write_earlier_comparisons
from training.recipe import read_recipe
from training.run_folder import (
    PROCESS_FILE,
    READ_IMAGES_FILE,
    WEIGHTS_FILE,
    Compared,
    EpochEnded,
    Failed,
    Finished,
    Started,
    append_event,
    read_events,
)

Reopen = Callable[[], Workspace]


def wait_for_end(ws: Workspace, run: Run, at_most_s: float = 120.0) -> list[object]:
    events: list[object] = []
    offset, began = 0, time.monotonic()
    while not any(isinstance(event, Finished | Failed) for event in events):
        assert time.monotonic() - began < at_most_s, f"no end within {at_most_s} s: {events}"
        time.sleep(0.1)
        said, offset = run_control.poll_run(ws, run, offset)
        events += said
    return events


def ended_run(ws: Workspace, *pairs: tuple[float, float], cancelled: bool = False) -> Run:
    """A run whose process has ended with a candidate and these scores on the first hold-out case's name onwards."""
    cases = [accepted(ws, number) for number in range(6)]
    for case in cases[1:]:
        set_held_out(ws, case.group, True)
    snapshot, seen = build_snapshot(ws, "lungs")
    folder = ws.project.folder / "runs" / "r1"
    write_version(folder, version=2, weights=b"candidate", parent="lungs-unet@1")
    (folder / "snapshot.json").write_text(snapshot.model_dump_json(), encoding="utf-8")
    held = snapshot.filter_by_role(Role.HOLD_OUT)
    for item, (old, new) in zip(held, pairs, strict=False):
        append_event(folder, Compared(item.name, item.source, old, new, {"right lung": old}, {"right lung": new}))
    append_event(folder, Finished(3, 0.9, cancelled, 10.0))
    run = ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, len(seen), None, "2025"))
    ws.project.add_run_items([type(item)("r1", item.correction_id, item.group, item.role) for item in seen])
    run_control.poll_run(ws, run)
    return ws.project.get_record(Run, "r1")


def test_snapshot_keeps_groups_on_their_side_and_replays_older_data(ws: Workspace) -> None:
    for number in range(12):
        accepted(ws, number, group=f"patient {number // 2}")
    snapshot, seen = build_snapshot(ws, "lungs")
    snapshot.check_split()
    groups = {role: {item.group for item in snapshot.filter_by_role(role)} for role in Role}
    clear = ws.project.identities.read_groups()
    assert {clear[group] for group in groups[Role.HOLD_OUT]} == {"patient 1", "patient 5"}
    assert len(groups[Role.VALIDATE]) == 1
    assert len(groups[Role.TRAIN]) == 3
    assert len(snapshot.filter_by_role(Role.REPLAY)) == 16
    assert not groups[Role.TRAIN] & groups[Role.VALIDATE]
    assert len(seen) == 12
    for item in snapshot.items:
        assert Path(item.image).is_file()
        assert Path(item.labels).is_file()
    assert build_snapshot(ws, "lungs")[0].sha256 == snapshot.sha256


def test_few_groups_all_train(ws: Workspace) -> None:
    accepted(ws, 0, "a")
    accepted(ws, 1, "b")
    set_held_out(ws, "b", False)
    roles = [item.role for item in build_snapshot(ws, "lungs")[0].items if item.source == "corrections"]
    assert roles == [Role.TRAIN, Role.TRAIN]


def test_only_the_newest_correction_of_a_case_is_learnt(ws: Workspace) -> None:
    case = accepted(ws, 0)
    draft = open_review(ws, case, None)
    draft.record([7], 0, 2)
    newest = accept(ws, draft, draft.labels, phantom(0))
    items = [item for item in build_snapshot(ws, "lungs")[0].items if item.source == "corrections"]
    assert [Path(item.labels).name for item in items] == [Path(newest.labels_file).name]


def test_equal_names_are_told_apart_and_edited_planes_are_known(ws: Workspace) -> None:
    for number in (0, 1):
        pixels = np.stack([phantom(10 * number + n).pixels for n in range(5)])
        stack = Image(pixels=pixels, axes="ZYX", name="stack", group=f"g{number}", spacing_mm=(5.0, 0.7, 0.7))
        case, _ = predicted_stack(ws, stack)
        draft = open_review(ws, case, None)
        draft.record_missed_changes(np.stack([phantom_labels() * (n in (1, 3)) for n in range(5)]))
        accept(ws, draft, draft.labels, stack)
    items = [item for item in build_snapshot(ws, "lungs")[0].items if item.source == "corrections"]
    assert [item.name for item in items] == ["patient 1 case 1", "patient 2 case 2"]
    assert [item.edited_planes for item in items] == [(1, 3), (1, 3)]


def predicted_stack(ws: Workspace, stack: Image) -> tuple[Case, None]:
    from napari_medseg.workflow.cases import add_cases

    return add_cases(ws, [stack], "lungs")[0], None


def test_nothing_to_learn_from_is_said(ws: Workspace) -> None:
    with pytest.raises(MedSegError, match="no correction to learn from"):
        retrain.start_run(ws, "lungs")
    case = accepted(ws, 0)
    set_held_out(ws, case.group, True)
    with pytest.raises(MedSegError, match="1 in the hold-out"):
        retrain.start_run(ws, "lungs")
    assert not list((ws.project.folder / "runs").iterdir())


def test_waiting_corrections_are_those_the_live_version_has_not_seen(ws: Workspace) -> None:
    run = ended_run(ws, *[(0.8, 0.9)] * 5)
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 1
    retrain.promote(ws, run)
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 0
    accepted(ws, 20, "another")
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 1
    retrain.roll_back(ws, "lungs")
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 2


def test_corrections_that_the_trainer_did_not_read_still_wait(ws: Workspace, tmp_path: Path) -> None:
    (ws.project.folder / "runs" / "r1").mkdir(parents=True)
    (ws.project.folder / "runs" / "r1" / READ_IMAGES_FILE).write_text('["../../labels/another.tif"]\n')
    run = ended_run(ws, *[(0.8, 0.9)] * 5)
    retrain.promote(ws, run)
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 1
    assert ws.project.listed.count_unread_corrections() == {"r1": 1}
    ws.registry.add(write_version(tmp_path / "child", version=3, weights=b"child", parent="lungs-unet@2"))
    (unread,) = ws.project.read_records(UnreadCorrection)
    (learnt,) = [one.id for one in ws.project.read_records(Correction) if one.id == unread.correction_id]
    ws.project.insert(Run("r2", "lungs", "lungs-unet@2", "runs/r2", RunState.PROMOTED, 1, "lungs-unet@3", "2026"))
    ws.project.add_run_items([RunItem("r2", learnt, "g", Role.TRAIN)])
    ws.registry.promote("lungs-unet@3")
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 0
    ws.project.insert(UnreadCorrection(0, "r2", learnt))
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 1


def test_what_a_parent_learnt_is_learnt_by_a_version_that_did_not_read_it_again(ws: Workspace, tmp_path: Path) -> None:
    run = ended_run(ws, *[(0.8, 0.9)] * 5)
    retrain.promote(ws, run)
    ws.registry.promote(ws.registry.add(write_version(tmp_path / "child", 3, b"child", "lungs-unet@2")).id)
    assert retrain.count_unlearnt_corrections(ws, "lungs") == 0


@pytest.mark.parametrize("decide", [retrain.keep_old, retrain.promote])
def test_no_run_starts_before_it_is_decided_about_the_version_of_the_last_one(
    ws: Workspace, decide: Callable[[Workspace, Run], object]
) -> None:
    run = ended_run(ws, *[(0.8, 0.9)] * 5)
    with pytest.raises(MedSegError, match="waits for a decision"):
        retrain.start_run(ws, "lungs")
    decide(ws, run)
    assert find_waiting_comparison(ws, "lungs") is None


def test_a_run_without_a_version_waits_for_no_decision(ws: Workspace) -> None:
    run = ended_run(ws, cancelled=True)
    (ws.project.folder / run.folder / WEIGHTS_FILE).unlink()
    assert find_waiting_comparison(ws, "lungs") is None


def test_better_candidate_goes_live_and_rolls_back(ws: Workspace) -> None:
    run = ended_run(ws, (0.8, 0.9), (0.85, 0.87), (0.7, 0.9), (0.8, 0.85), (0.6, 0.75))
    assert run.state is RunState.FINISHED
    view = retrain.read_comparison(ws, run)
    assert view.verdict.decision is Decision.BETTER
    assert [round(row.score_change, 2) for row in view.rows] == [0.02, 0.05, 0.1, 0.15, 0.2], "the worst change on top"
    assert [row.case.file_name for row in view.rows if row.case] == [f"slice {number}" for number in (2, 4, 1, 5, 3)]
    assert all((ws.project.folder / row.labels_file).is_file() for row in view.rows)
    card = retrain.promote(ws, run)
    assert card.id == "lungs-unet@2"
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@2"
    promoted = ws.project.get_record(Run, run.id)
    assert (promoted.state, promoted.result_model) == (RunState.PROMOTED, "lungs-unet@2")
    assert retrain.roll_back(ws, "lungs").id == "lungs-unet@1"
    with pytest.raises(MedSegError, match="no candidate"):
        retrain.promote(ws, run)


@pytest.mark.parametrize(
    "pairs",
    [((0.9, 0.8), (0.8, 0.9), (0.7, 0.99)), ((0.8, 0.9),), ()],
    ids=["a case falls", "too few", "no hold-out"],
)
def test_other_candidates_need_a_reason_that_goes_on_the_card(
    ws: Workspace, pairs: tuple[tuple[float, float], ...]
) -> None:
    run = ended_run(ws, *pairs)
    for reason in ("", "  \n"):
        with pytest.raises(MedSegError, match="type a reason"):
            retrain.promote(ws, run, reason)
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@1"
    assert not ws.registry.user_dir.exists()
    card = retrain.promote(ws, run, "the old one fails on X-rays")
    assert card.lineage.promotion_reason == "the old one fails on X-rays"
    written = read_card(ws.registry.get_folder(card.id) / "card.json")
    assert written.lineage.promotion_reason == "the old one fails on X-rays"


def test_a_run_whose_labels_were_doubted_is_not_called_better(ws: Workspace) -> None:
    run = ended_run(ws, *[(0.8, 0.9)] * 5)
    (run_control.get_run_folder(ws, run) / retrain.LABEL_PROBLEM_FILE).write_text(
        "labels seem to be mixed up", encoding="utf-8"
    )
    verdict = retrain.read_comparison(ws, run).verdict
    assert verdict.decision is Decision.CANNOT_TELL
    assert verdict.answer == "Cannot tell: labels seem to be mixed up"
    with pytest.raises(MedSegError, match="type a reason"):
        retrain.promote(ws, run)


def repeat(ws: Workspace, name: str, base: str = "lungs-unet@1") -> Run:
    """One more run with the same hold-out and the same scores as the run `r1`."""
    shutil.copytree(ws.project.folder / "runs" / "r1", ws.project.folder / "runs" / name)
    return ws.project.insert(Run(name, "lungs", base, f"runs/{name}", RunState.FINISHED, 1, None, "2025"))


def test_every_comparison_on_a_hold_out_makes_the_next_one_stricter(ws: Workspace) -> None:
    first = ended_run(ws, *[(0.8, 0.9), (0.8, 0.87), (0.7, 0.8), (0.8, 0.91), (0.6, 0.69)])
    assert retrain.read_comparison(ws, first).verdict.decision is Decision.BETTER
    repeat(ws, "r2")
    third = retrain.read_comparison(ws, repeat(ws, "r3")).verdict
    assert (third.n_earlier, third.decision) == (2, Decision.CANNOT_TELL), "five patients carry one comparison"
    assert "3rd comparison on this hold-out: 99.68 % confidence in a gain is needed" in third.text
    assert retrain.read_comparison(ws, first).verdict.n_earlier == 0, "later comparisons change no earlier verdict"


@pytest.mark.parametrize(("reason", "n_earlier"), [("", 0), ("sharper at the base", 1)])
def test_only_a_version_that_is_better_starts_the_count_anew(ws: Workspace, reason: str, n_earlier: int) -> None:
    run = ended_run(ws, *[(0.8, 0.9), (0.8, 0.87), (0.7, 0.8), (0.8, 0.91), (0.6, 0.69)])
    retrain.promote(ws, run, reason)
    again = repeat(ws, "r2", "lungs-unet@2")
    assert retrain.read_comparison(ws, again).verdict.n_earlier == n_earlier
    rolled_back = repeat(ws, "r3", "lungs-unet@1")
    assert retrain.read_comparison(ws, rolled_back).verdict.n_earlier == 2


def test_the_run_folder_says_how_often_the_hold_out_was_used(ws: Workspace) -> None:
    run = ended_run(ws, *[(0.8, 0.9), (0.8, 0.87), (0.7, 0.8), (0.8, 0.91), (0.6, 0.69)])
    write_earlier_comparisons(run_control.get_run_folder(ws, run), 6)
    assert "7th comparison" in retrain.read_comparison(ws, run).verdict.text


def test_kept_candidate_can_be_promoted_later(ws: Workspace) -> None:
    run = ended_run(ws, *[(0.8, 0.9)] * 5, cancelled=True)
    assert run.state is RunState.CANCELLED
    assert retrain.keep_old(ws, run).id == "lungs-unet@2"
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@1"
    assert retrain.promote(ws, run).id == "lungs-unet@2"
    assert [card.id for card in ws.registry.list_versions("lungs")] == ["lungs-unet@2", "lungs-unet@1"]


def test_dead_run_is_failed_with_the_last_lines_of_its_log(open_workspace: Reopen) -> None:
    ws = open_workspace()
    accepted(ws, 0)
    folder = ws.project.folder / "runs" / "r1"
    folder.mkdir()
    command = "import sys; sys.stderr.write('loading\\nSegmentation fault, core dumped\\n'); sys.exit(139)"
    start_detached([sys.executable, "-c", command], folder).wait()
    run = ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, 1, None, "2025"))
    ws = open_workspace()
    assert run_control.find_running_run(ws) is None
    assert ws.project.get_record(Run, "r1").state is RunState.FAILED
    events, _ = run_control.poll_run(ws, run)
    assert len(events) == 1
    assert isinstance(events[0], Failed)
    assert "loading | Segmentation fault, core dumped" in events[0].message
    with pytest.raises(MedSegError, match="no candidate"):
        retrain.promote(ws, run)


def test_number_of_a_process_that_another_one_has_now_is_not_believed(tmp_path: Path) -> None:
    process = start_detached([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    try:
        assert is_alive(tmp_path, process)
        assert is_alive(tmp_path, None)
        known = json.loads((tmp_path / PROCESS_FILE).read_text(encoding="utf-8"))
        assert known["pid"] == process.pid
        (tmp_path / PROCESS_FILE).write_text(json.dumps(known | {"started": known["started"] - 100}), encoding="utf-8")
        assert not is_alive(tmp_path, None)
    finally:
        process.kill()
        process.wait()
    assert not is_alive(tmp_path, process)


STARTER = """
import sys
from pathlib import Path
from napari_medseg.workflow.run_control import start_detached
folder = Path(sys.argv[1])
late = "import pathlib, time; time.sleep(1.0); pathlib.Path('late').touch(); time.sleep(60)"
start_detached([sys.executable, "-c", late], folder)
sys.stdout.write("started\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_run_survives_the_death_of_its_window(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as window:
        assert window.stdout is not None
        assert window.stdout.readline() == b"started\n"
        os.killpg(window.pid, signal.SIGKILL)
    pid = json.loads((tmp_path / PROCESS_FILE).read_text(encoding="utf-8"))["pid"]
    try:
        began = time.monotonic()
        while not (tmp_path / "late").exists() and time.monotonic() - began < 20:
            time.sleep(0.05)
        assert (tmp_path / "late").exists()
        assert is_alive(tmp_path, None)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_real_run_is_started_reattached_cancelled_and_promoted(
    open_workspace: Reopen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ws = open_workspace()
    real_version(tmp_path / "bundled" / "lungs-unet" / "1")
    for number in range(3):
        accepted(ws, number)
    requested = time.time() - 20.0
    run = retrain.start_run(ws, "lungs", budget_s=600.0, seed=3, changes=QUICK, since=requested)
    folder = run_control.get_run_folder(ws, run)
    recipe = read_recipe(folder / "recipe.json")
    assert (recipe.run.version, recipe.run.budget_s, recipe.run.seed) == (2, 600.0, 3)
    assert Path(recipe.run.base) == tmp_path / "registry" / "lungs-unet" / "1"
    assert read_snapshot(folder / "snapshot.json").filter_by_role(Role.HOLD_OUT)
    assert read_earlier_comparisons(folder) == 0
    with pytest.raises(MedSegError, match="under way"):
        retrain.start_run(ws, "lungs")

    ws = open_workspace()
    found = run_control.find_running_run(ws)
    assert found == run
    began = time.monotonic()
    while not any(isinstance(event, EpochEnded) for event, _ in read_events(folder)):
        assert time.monotonic() - began < 90, (folder / "log.txt").read_text(encoding="utf-8")
        time.sleep(0.1)
    run_control.cancel(ws, run)
    events = wait_for_end(ws, run)
    assert isinstance(events[0], Started)
    assert events[0].time == pytest.approx(requested, abs=1.0), "the budget counts from the request"
    assert isinstance(events[-1], Finished), events[-1]
    assert events[-1].cancelled
    assert run_control.find_running_run(ws) is None
    assert ws.project.get_record(Run, run.id).state is RunState.CANCELLED
    card = retrain.promote(ws, run, "a test of the whole way")
    assert card.id == "lungs-unet@2"
    assert card.lineage.parent == "lungs-unet@1"
    assert ws.registry.get_live_card("lungs") == card
    with pytest.raises(MedSegError, match="trained on"):
        set_held_out(ws, "patient 0", True)


@pytest.mark.parametrize("damage", [b'{"task": "\xff', b'{"pid":' * 100_000], ids=["bytes", "nesting"])
def test_damaged_files_of_a_run_cost_its_cases_only(
    ws: Workspace, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    run = ended_run(ws, *[(0.5, 0.6)] * 5)
    folder = ws.project.folder / run.folder
    for name in ("snapshot.json", "doubt.txt", "earlier_comparisons.txt", "recipe.json", PROCESS_FILE):
        (folder / name).write_bytes(damage)
    for _ in range(70):
        comparison = retrain.read_comparison(ws, run)
    assert len(comparison.rows) == 5
    assert {row.case for row in comparison.rows} == {None}
    assert run_control.find_running_run(ws) is None
    assert run_control.find_paused_run(ws, "lungs") is None
    assert not is_alive(folder, None)
    assert [record.levelname for record in caplog.records].count("WARNING") == 2
    assert "snapshot.json is not a snapshot" in caplog.text
    assert "earlier_comparisons.txt is damaged" in caplog.text
    other = ws.project.insert(Run("r2", "lungs", "lungs-unet@1", "runs/r2", RunState.FINISHED, 1, None, "2026"))
    (ws.project.folder / "runs" / "r2").mkdir()
    assert retrain.read_comparison(ws, other).rows == (), "another run does not depend on it"
