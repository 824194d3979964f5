"""The row of tools: only those that the task has, greyed with a reason, and the active one is seen."""

from types import SimpleNamespace

import pytest
from correction_phantoms import get_tool
from qtpy.QtGui import QColor

from napari_medseg.plugin.correction import tool_icons, tool_row
from napari_medseg.plugin.correction.tools import PIECE_ACTIONS, TOOLS
from napari_medseg.plugin.keymap import build_help_html


def test_without_a_case_the_buttons_say_why_they_are_grey(tools: SimpleNamespace) -> None:
    row = tools.correction.row
    for button in (*row._modes.values(), *row._tools.values(), row._specks, row._swap, row._in_volume):
        assert not button.isEnabled()
        assert button.toolTip() == tool_row.NO_LABELS


def test_a_task_has_its_own_tools(nuclei: SimpleNamespace) -> None:
    row = nuclei.correction.row
    assert not row._tools["cut"].isHidden()
    assert row._swap.isHidden()
    assert row._in_volume.isHidden()
    assert row._modes["paint"].toolTip().startswith("brush (P): a stroke makes a new object")


def test_lungs_have_labels_to_swap_and_slices(lungs: SimpleNamespace) -> None:
    row = lungs.correction.row
    assert row._tools["cut"].isHidden()
    assert not row._swap.isHidden()
    assert not row._in_volume.isHidden()
    row.toggle_in_volume()
    assert lungs.mouse_tools.in_volume
    assert lungs.said[-1] == "pieces, cuts and joins: in the whole volume"


def test_one_button_is_down_whoever_chose_the_tool(nuclei: SimpleNamespace) -> None:
    row = nuclei.correction.row

    def find_down() -> list[str]:
        return [name for name, button in (*row._modes.items(), *row._tools.items()) if button.isChecked()]

    row._tools["cut"].click()
    assert find_down() == ["cut"]
    nuclei.layer.mode = "paint"
    assert find_down() == ["paint"]
    row._modes["erase"].click()
    assert (nuclei.layer.mode, find_down()) == ("erase", ["erase"])
    nuclei.mouse_tools.activate(get_tool("join"))
    row._tools["join"].click()
    assert find_down() == ["pan_zoom"]


def test_an_entry_of_a_menu_shows_its_change_and_a_click_does_it(lungs: SimpleNamespace) -> None:
    row = lungs.correction.row
    menu = row._swap.menu()
    menu.aboutToShow.emit()
    (entry,) = menu.actions()
    entry.hovered.emit()
    assert lungs.editor.preview.drawing is not None
    menu.aboutToHide.emit()
    assert lungs.editor.preview.drawing is None
    assert (lungs.layer.data == lungs.labels).all()
    entry.trigger()
    assert lungs.layer.data[1, 20, 10] == 2
    assert row.message.text() == "swapped right lung and left lung"


def test_what_was_undone_is_no_longer_told(lungs: SimpleNamespace) -> None:
    message = lungs.correction.row.message
    lungs.mouse.move_to((20, 10))
    key = lungs.correction.piece_actions.rename_while_held(2)
    next(key)
    next(key, None)
    assert message.text().startswith("right lung is now left lung")
    lungs.case_controller.undo()
    assert message.text() == ""
    assert message.isHidden()
    lungs.editor.say("pieces, cuts and joins: in the whole volume")
    lungs.case_controller.redo()
    assert message.text() == "pieces, cuts and joins: in the whole volume", "it is of no edit"


def test_the_page_of_keys_lists_each_tool(tools: SimpleNamespace) -> None:
    page = build_help_html(tools.correction.list_key_bindings())
    for text in (
        *(tool.title for tool in TOOLS),
        *(action.text for action in PIECE_ACTIONS),
        "Ctrl+wheel",
        "Shift+1 to 9",
        "Shift+-",
    ):
        assert text in page


@pytest.mark.parametrize("name", sorted(tool_icons._SHAPES))
def test_each_icon_is_drawn_in_the_colour_of_the_theme(name: str, qapp: object) -> None:
    picture = tool_icons.make_icon(name, "#ff8000").pixmap(40, 40).toImage()
    colours = {
        picture.pixelColor(x, y).name() for x in range(40) for y in range(40) if picture.pixelColor(x, y).alpha() > 250
    }
    assert QColor("#ff8000").name() in colours
