"""The forms: what they offer, what they hand on, and what they say when a value is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.forms.export_form import ExportChoice, make_export_form
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.groups_form import make_groups_form
from napari_medseg.plugin.forms.preferences_form import make_preferences_form
from napari_medseg.plugin.forms.retrain_form import RetrainOptions, make_retrain_form
from napari_medseg.workflow import retrain
from napari_medseg.workflow.hold_out.groups import GroupPlan
from napari_medseg.workflow.preferences import PREFERENCES_FILE, Preferences, read_preferences, write_preferences
from napari_medseg.workflow.run_plan import RunRequest
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import RecipeOverrides

CPU = DeviceStatus("cpu", "CPU")


@pytest.fixture
def dock(make_dock: Callable[[Workspace], Dock], ws: Workspace) -> Dock:
    return make_dock(ws)


def find_form(dock: Dock) -> FormDialog:
    (found,) = dock.findChildren(FormDialog)
    return found


def test_the_export_form_hands_on_format_folder_and_images(tmp_path: Path) -> None:
    written: list[ExportChoice] = []
    form = make_export_form(written.append, ".tif", tmp_path, False)
    assert (form.suffix.value, form.folder.value, form.with_images.value) == (".tif", tmp_path, False)
    form.suffix.value, form.with_images.value = ".nii.gz", True
    form()
    form.straighten.value = True
    form()
    form.names.value, form.with_notes.value = "stem", True
    form()
    first, *_, last = written
    assert first == ExportChoice(".nii.gz", tmp_path, True, False, "group", False), "no name and no free text unasked"
    assert last == ExportChoice(".nii.gz", tmp_path, True, True, "stem", True)


def test_a_data_set_in_the_export_form_has_no_choices_of_single_files(tmp_path: Path) -> None:
    written: list[ExportChoice] = []
    form = make_export_form(written.append, ".tif", tmp_path, False)
    assert form.with_images.enabled
    form.suffix.value = "data set: coco"
    assert not any(one.enabled for one in (form.names, form.with_images, form.with_notes, form.straighten))
    form()
    assert written[0].layout == "coco"
    form.suffix.value = ".nii.gz"
    assert form.straighten.enabled


def test_the_retrain_form_offers_the_live_version_first_and_an_optional_recipe(tmp_path: Path) -> None:
    started: list[RetrainOptions] = []
    form = make_retrain_form(started.append, "lungs-unet@3", ["lungs-unet@3", "lungs-unet@1"], 90.0)
    assert form.base.choices == ("", "lungs-unet@1")
    form()
    form.base.value, form.seed.value, form.recipe.value = "lungs-unet@1", 7, tmp_path / "mine.toml"
    form()
    assert started == [
        RetrainOptions("", 90.0, 0, None),
        RetrainOptions("lungs-unet@1", 90.0, 7, tmp_path / "mine.toml"),
    ]


def test_preferences_survive_a_restart(open_workspace: Callable[[], Workspace], qtbot: QtBot) -> None:
    ws = open_workspace()
    form = make_preferences_form(lambda made: write_preferences(ws.registry, made), read_preferences(ws.registry))
    form.predict_automatically.value, form.budget_s.value, form.export_suffix.value = False, 300.0, ".png"
    assert form.max_memory_gb.native.text() == "automatic"
    form.max_memory_gb.value = 8.0
    form()
    expected = Preferences(predict_automatically=False, budget_s=300.0, export_suffix=".png", max_memory_gb=8.0)
    assert read_preferences(open_workspace().registry) == expected
    assert expected.max_memory_bytes == 8 * 10**9
    assert Preferences().max_memory_bytes is None


def test_the_device_is_chosen_by_name_and_a_missing_one_stays_until_then(ws: Workspace, qtbot: QtBot) -> None:
    devices = [DeviceStatus("cuda:0", "CUDA 0: RTX 4070"), DeviceStatus("cuda:1", "CUDA 1: A2000"), CPU]
    saved: list[Preferences] = []
    form = make_preferences_form(saved.append, Preferences(), devices)
    assert form.device.choices == ("", "cuda:0", "cuda:1", "cpu")
    form.device.value = "cuda:1"
    form()
    assert make_preferences_form(saved.append, Preferences(device="cuda:7"), devices).device.value == "cuda:7"
    assert saved[-1].device == "cuda:1"


def test_the_chosen_device_reaches_engine_and_retraining(
    dock: Dock, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock._save_preferences(Preferences(device="cuda:1"))
    assert ws.engine.device_name == "cuda:1"
    asked: list[RecipeOverrides] = []
    monkeypatch.setattr(retrain, "start_checked_run", lambda ws, task, request, checked: asked.append(request.changes))
    monkeypatch.setattr(dock.run_monitor, "_follow", lambda run: None)
    dock.run_monitor.start("lungs", RunRequest(90.0))
    dock.run_monitor.start("lungs", RunRequest(90.0, changes=RecipeOverrides(recipe={"device": "cpu"})))
    assert asked == [RecipeOverrides(recipe={"run": {"device": "cuda:1"}}), RecipeOverrides(recipe={"device": "cpu"})]


def test_a_window_that_is_chosen_while_the_form_is_open_is_kept(dock: Dock, ws: Workspace) -> None:
    dock.show_preferences_form()
    write_preferences(ws.registry, Preferences(display_windows={"lungs CT": "bone"}, shows_planes=True))
    next(form for form in dock.findChildren(FormDialog) if form.isVisible()).submit_button.click()
    kept = read_preferences(ws.registry)
    assert (kept.display_windows, kept.shows_planes) == ({"lungs CT": "bone"}, True)


def test_the_tooltip_says_why_it_is_the_cpu(dock: Dock, ws: Workspace) -> None:
    ws.engine.cpu_reason = "CUDA: RTX 4070: torch 2.9.0+cpu has no CUDA."
    dock.case_panel.refresh_predict()
    assert "torch 2.9.0+cpu has no CUDA" in dock.case_panel._engine.toolTip()


def test_choices_are_shown_by_their_titles(qtbot: QtBot) -> None:
    form = make_preferences_form(lambda _made: None, Preferences(), [CPU])
    assert form.runtime.value == "auto"
    assert form.runtime.native.currentText() == "the fastest that was measured"


def test_damaged_preferences_mean_the_defaults(ws: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    ws.registry.user_dir.mkdir(parents=True, exist_ok=True)
    (ws.registry.user_dir / PREFERENCES_FILE).write_bytes(b"\xff{")
    assert read_preferences(ws.registry) == Preferences()
    assert "default preferences" in caplog.text


@pytest.mark.parametrize("damage", [b"\xff{", b"", b"[" * 100_000, b'{"budget_s": "fast"}', b'{"from": "elsewhere"}'])
def test_damaged_preferences_are_set_aside_before_others_are_saved(ws: Workspace, damage: bytes) -> None:
    path = ws.registry.user_dir / PREFERENCES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damage)
    for budget_s in (300.0, 600.0):
        write_preferences(ws.registry, Preferences(budget_s=budget_s))
    assert read_preferences(ws.registry) == Preferences(budget_s=600.0)
    assert [kept.read_bytes() for kept in path.parent.glob("preferences.json.*")] == [damage]


def test_a_refused_value_is_shown_and_the_form_stays_open(tmp_path: Path, qtbot: QtBot) -> None:
    def refuse(*_values: object) -> None:
        raise MedSegError("the folder cannot be written")

    dialog = FormDialog("Export", "Export", make_export_form(refuse, ".tif", tmp_path, False))
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.submit_button.click()
    assert dialog.isVisible()
    assert dialog.problem == "the folder cannot be written"


def test_the_dock_uses_saved_preferences_at_once_and_at_the_next_start(
    ws: Workspace, make_dock: Callable[[Workspace], Dock]
) -> None:
    dock = make_dock(ws)
    assert dock.worklist.predicts_automatically
    dock.show_preferences_form()
    dialog = find_form(dock)
    dialog.form.predict_automatically.value, dialog.form.budget_s.value = False, 900.0
    dialog.submit_button.click()
    assert not dock.worklist.predicts_automatically
    assert dock.retrain_panel._budget.currentData() == 900.0
    dock.close_down()
    again = make_dock(ws)
    assert not again.worklist.predicts_automatically
    assert again.retrain_panel._budget.currentData() == 900.0


def test_the_export_form_of_the_dock_begins_with_the_preferences(
    ws: Workspace, make_dock: Callable[[Workspace], Dock]
) -> None:
    write_preferences(ws.registry, Preferences(export_suffix=".png", export_with_images=True))
    dock = make_dock(ws)
    dock.show_export_form()
    form = find_form(dock).form
    assert (form.suffix.value, form.with_images.value) == (".png", True)
    assert form.folder.value == ws.project.folder / "exports"


def test_the_groups_form_shows_what_a_pattern_would_change_and_asks_where_it_matters() -> None:
    changed: list[GroupPlan] = []

    def plan(text: str) -> GroupPlan:
        if text == "(":
            raise MedSegError("not a pattern")
        return GroupPlan((), {}, {}, {}, (), ("the hold-out was used before",) if text == "risky" else (), text)

    form = make_groups_form(plan, changed.append, "{patient}_*", "Pattern", "")
    assert form.preview.value.startswith("0 patients")
    form.text.value = "("
    assert form.preview.value == "not a pattern"
    form.text.value = "risky"
    assert "the hold-out was used before" in form.preview.value
    with pytest.raises(MedSegError, match="tick the box"):
        form()
    form.confirmed.value = True
    form()
    assert [one.pattern for one in changed] == ["risky"]
