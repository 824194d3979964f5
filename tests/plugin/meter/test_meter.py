"""The meter in the window: its page fills, two readers are compared, and another person sees another list."""

from collections.abc import Callable

import numpy as np
import pytest
from plugin_phantoms import Texts, phantom, phantom_labels
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import write_image_copy
from napari_medseg.core.readings.records import DraftAgreement
from napari_medseg.core.records import Case
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.preferences_form import make_preferences_form
from napari_medseg.plugin.meter.plots import MAX_UNITS, ForecastPlot, SavingPlot, TrendPlot, choose_unit
from napari_medseg.workflow.cases import add_cases, get_case_row, list_current_corrections
from napari_medseg.workflow.meter.statistics import Estimate
from napari_medseg.workflow.meter.trend import Forecast
from napari_medseg.workflow.preferences import Preferences, read_preferences
from napari_medseg.workflow.review import accept, open_review, record_prediction
from napari_medseg.workflow.workspace import Workspace

MODEL = "lungs-unet@1"


def accept_case(ws: Workspace, case: Case, image: Image, n_voxels: int) -> None:
    draft = open_review(ws, case, get_case_row(ws, case).prediction)
    draft.record(np.arange(n_voxels), draft.labels.ravel()[:n_voxels], 1)
    draft.add_seconds(60.0)
    accept(ws, draft, draft.labels, image)


@pytest.fixture
def read_twice(ws: Workspace) -> tuple[Case, Image]:
    """A case that Anna and Ben have read; Ben works now. No image file is needed: the project has a copy."""
    ws.reader.set_name("Anna")
    image = phantom()
    (case,) = add_cases(ws, [image], "lungs")
    record_prediction(ws, case, PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU"), MODEL)
    write_image_copy(ws.project.folder, image)
    accept_case(ws, case, image, 3)
    ws.second_readings.choose(case, is_chosen=True)
    ws.reader.set_name("Ben")
    accept_case(ws, case, image, 9)
    return case, image


def open_meter(dock: Dock, qtbot: QtBot) -> None:
    dock.meter.open()
    qtbot.waitUntil(lambda: dock.meter._worker is None and bool(dock.meter.page.text.text()))


def test_the_page_shows_figures_and_where_two_readers_differ(
    make_dock: Callable[[Workspace], Dock],
    ws: Workspace,
    read_twice: tuple[Case, Image],
    qtbot: QtBot,
    told: Texts,
) -> None:
    dock = make_dock(ws)
    open_meter(dock, qtbot)
    page, (case, _) = dock.meter.page, read_twice
    assert f"{MODEL}, 2 cases, time of 2, 8 are needed" in page.text.text()
    assert page._title.text().endswith("2 corrections")
    assert page.plots[1].missing.startswith("needs two versions")
    qtbot.waitUntil(
        lambda: "1 case read by two persons" in page.reader_text.text() and page.readers.table.rowCount() == 1
    )
    qtbot.waitUntil(lambda: page.readers.table.item(0, 3).text().startswith("0.99"))
    assert not page.readers.show_button.isEnabled()
    page.readers.table.selectRow(0)
    page.readers.show_button.click()
    qtbot.waitUntil(lambda: dock.meter.differences.layer.layer is not None)
    layer = dock.meter.differences.layer.layer
    assert np.flatnonzero(layer.data).tolist() == list(range(3, 9)), "what only the second reader set"
    assert set(np.unique(layer.data)) == {0, 2}
    assert "Blue: only the second" in told

    ((_, first),) = list_current_corrections(ws, "lungs")
    page.readers.second_button.click()
    qtbot.waitUntil(lambda: page.readers.first_button.isEnabled())
    ((_, second),) = list_current_corrections(ws, "lungs")
    assert (first.who, second.who) == ("reader 1", "reader 2")
    page.readers.first_button.click()
    assert list_current_corrections(ws, "lungs") == [(get_case_row(ws, case).case, first)]


def test_older_corrections_are_measured_in_a_thread(
    make_dock: Callable[[Workspace], Dock], ws: Workspace, read_twice: tuple[Case, Image], qtbot: QtBot
) -> None:
    ws.project._connection.execute("DELETE FROM draft_agreements")
    dock = make_dock(ws)
    open_meter(dock, qtbot)
    qtbot.waitUntil(lambda: len(ws.project.read_records(DraftAgreement)) == 2)
    first, second = ws.project.read_records(DraftAgreement)
    assert (first.labelled_voxels, second.labelled_voxels) == (2 * 560 + 3, 2 * 560 + 9)
    assert first.dice > second.dice > 0.99


def test_another_person_sees_the_list_of_that_person(
    make_dock: Callable[[Workspace], Dock], ws: Workspace, qtbot: QtBot, told: Texts
) -> None:
    ws.reader.set_name("Anna")
    image = phantom()
    (case,) = add_cases(ws, [image], "lungs")
    record_prediction(ws, case, PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU"), MODEL)
    write_image_copy(ws.project.folder, image)
    accept_case(ws, case, image, 3)
    dock = make_dock(ws)
    dock.worklist.open(case)
    qtbot.waitUntil(lambda: dock.case_controller.current is not None)
    dock.meter._fill_menu()
    assert "Anna corrects now" in dock.meter._readers_action.text()
    assert not dock.meter._second_action.isChecked()
    dock.meter._second_action.trigger()
    dock.meter.show_readers_form()
    (dialog,) = dock.findChildren(FormDialog)
    dialog.form.person.value = " "
    dialog.form.percent.value = 50
    dialog.accept()
    assert "a name of 1 to 80 letters" in dialog.problem
    assert ws.second_readings.share == 0, "nothing is half done"
    dialog.form.person.value = "Ben"
    dialog.form.percent.value = 20
    dialog.accept()
    assert dock.case_controller.current is None, "the first reading is closed"
    assert [row.state for row in dock.worklist.rows] == ["predicted"]
    assert (ws.second_readings.share, read_preferences(ws.registry).reader) == (0.2, "Ben")
    assert "Ben corrects now" in told
    dock.worklist.open(case)
    qtbot.waitUntil(lambda: dock.case_controller.current is not None)
    assert not dock.case_controller.current.labels_layer.data.ravel()[:3].any(), "the draft of the model"
    dock.review_panel.refresh()
    assert dock.review_panel._status.text() == "2nd · 0:00 · 0 vox"
    dock._save_preferences(read_preferences(ws.registry).model_copy(update={"reader": "Anna"}))
    assert [row.state for row in dock.worklist.rows] == ["accepted"]


def test_the_name_is_asked_once_where_second_readings_are_made(
    make_dock: Callable[[Workspace], Dock], open_workspace: Callable[[], Workspace]
) -> None:
    ws = open_workspace()
    assert make_dock(ws).prompt.text == ""
    ws = open_workspace()
    ws.second_readings.set_share(0.1)
    add_cases(ws, [phantom(1)], "lungs")
    prompt = make_dock(ws).prompt
    assert "Who corrects now?" in prompt.text
    prompt.press_answer("Later")
    assert "1 case is not reviewed yet" in prompt.text, "neither question takes the place of the other"
    ws = open_workspace()
    ws.reader.set_name("Anna")
    assert "Who corrects now?" not in make_dock(ws).prompt.text


def test_the_name_in_the_preferences_is_cleaned() -> None:
    saved: list[Preferences] = []
    form = make_preferences_form(saved.append, Preferences())
    form.reader.value = "  Dr.  Mara "
    form()
    form.reader.value = "x" * 90
    with pytest.raises(MedSegError, match="1 to 80 letters"):
        form()
    assert [(one.reader, one.account_reader) for one in saved] == [("Dr. Mara", "")]


def test_a_name_in_the_preferences_is_a_person_and_an_old_form_switches_nobody_back(
    make_dock: Callable[[Workspace], Dock], ws: Workspace
) -> None:
    dock, account = make_dock(ws), ws.reader.name
    saved: list[Preferences] = []
    old_form = make_preferences_form(saved.append, Preferences(reader=account))
    dock._save_preferences(Preferences(reader=account))
    assert ws.reader.is_named
    assert ws.reader.key() == "reader 1"
    dock._save_preferences(Preferences(reader="Ben", account_reader="Ben"))
    assert ws.reader.key() == "reader 2", "the first name that was given is that of the account"
    old_form()
    dock._save_preferences(saved[-1])
    assert (ws.reader.name, read_preferences(ws.registry).reader) == ("Ben", "Ben")
    dock.meter.show_readers_form()
    (dialog,) = dock.findChildren(FormDialog)
    dock.meter.change_reader("Cleo")
    dialog.form.percent.value = 10
    dialog.accept()
    assert (ws.reader.name, ws.second_readings.share) == ("Cleo", 0.1)


def test_plots_say_why_they_are_empty_and_follow_the_theme(qtbot: QtBot) -> None:
    for plot in (TrendPlot("dark"), SavingPlot("dark"), ForecastPlot("dark")):
        qtbot.addWidget(plot)
        assert plot.missing
        before = plot.backgroundBrush().color().name()
        plot.set_theme("light")
        assert plot.backgroundBrush().color().name() != before
        assert plot.missing


@pytest.mark.parametrize(
    ("longest_s", "unit"), [(0, "seconds"), (5, "seconds"), (121, "minutes"), (7_000, "minutes"), (9e4, "hours")]
)
def test_an_axis_of_time_has_a_unit_that_can_be_read(longest_s: float, unit: str) -> None:
    name, seconds = choose_unit(longest_s)
    assert (name, longest_s / seconds <= MAX_UNITS) == (unit, True)


def test_the_rest_of_a_short_list_is_told_in_seconds(qtbot: QtBot) -> None:
    plot = ForecastPlot("dark")
    qtbot.addWidget(plot)
    for seconds, unit in ((40.0, "seconds"), (3000.0, "minutes")):
        plot.show_forecast([], Forecast(5, 0, Estimate(seconds, seconds, 2 * seconds)))
        assert plot.getPlotItem().getAxis("bottom").labelText == f"{unit} of work"
