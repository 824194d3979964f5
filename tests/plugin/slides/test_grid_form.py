"""The form of a grid: the size in pixels and that in micrometres follow each other."""

from pytestqt.qtbot import QtBot

from napari_medseg.core.slides.grid import GridChoice
from napari_medseg.plugin.slides.grid_form import make_grid_form


def test_micrometres_choose_pixels_of_the_level(qtbot: QtBot) -> None:
    chosen: list[GridChoice] = []
    form = make_grid_form(chosen.append, ["0.25 um", "1 um"], 1000, [0.25, 1.0])
    qtbot.addWidget(form.native)
    assert form.size_um.value == 250
    form.size_um.value = 400
    assert form.size.value == 1600
    form.level.value = 1
    assert (form.size.value, form.size_um.value) == (1600, 1600)
    form.size_um.value = 300
    assert form.size.value == 300
    form.size.value = 512
    assert form.size_um.value == 512
    form()
    assert (chosen[0].size_px, chosen[0].level) == (512, 1)


def test_without_a_resolution_there_are_only_pixels(qtbot: QtBot) -> None:
    chosen: list[GridChoice] = []
    form = make_grid_form(chosen.append, ["1 : 1"], 1000, [])
    qtbot.addWidget(form.native)
    form.size.value = 640
    form()
    assert chosen[0].size_px == 640
