"""Drags on real labels: cut, join, paint, fill; each is one stroke of the journal, and the rest stays as it was."""

from types import SimpleNamespace

import numpy as np
import pytest
from correction_phantoms import FIRST_NUMBER, N_COLUMNS, N_NUCLEI, get_tool, make_nuclei, open_predicted, stained
from napari.utils.key_bindings import coerce_keybinding
from plugin_phantoms import phantom, phantom_labels

from napari_medseg.core.editing import smart_brush
from napari_medseg.plugin.correction.tools import PIECE_ACTIONS
from napari_medseg.plugin.layers import METADATA_KEY
from napari_medseg.workflow import review

NEW = FIRST_NUMBER + N_NUCLEI
SECOND_ROW = FIRST_NUMBER + N_COLUMNS
"""The nucleus at rows 12 to 19, columns 0 to 7."""


def is_in_draft(tools: SimpleNamespace) -> bool:
    return np.array_equal(tools.layer.data, tools.editor.session.draft.labels)


def test_a_drag_with_the_cut_splits_one_nucleus_and_undo_brings_it_back(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("cut"))
    nuclei.mouse.drag([(10, 15.5), (22, 15.5)])
    assert nuclei.said[-1] == f"split nucleus {SECOND_ROW + 1} into {SECOND_ROW + 1} and {NEW}"
    expected = nuclei.labels.copy()
    expected[12:20, 16:20] = NEW
    assert np.array_equal(nuclei.layer.data, expected)
    assert is_in_draft(nuclei)
    nuclei.case_controller.undo()
    assert np.array_equal(nuclei.layer.data, nuclei.labels)


def test_a_cut_is_shown_while_the_button_is_down_and_dropped_by_esc(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("cut"))
    nuclei.mouse.press((10, 15.5))
    nuclei.mouse.drag_on((22, 15.5))
    nuclei.mouse_tools._drags.show()
    drawing = nuclei.editor.preview.drawing
    assert drawing.colours.shape == (8, 4, 4)
    assert drawing.first_pixel == (12, 16)
    assert np.array_equal(drawing.line, [(10, 15.5), (22, 15.5)])
    assert np.array_equal(nuclei.layer.data, nuclei.labels)
    nuclei.mouse_tools.cancel()
    nuclei.mouse.release((22, 15.5))
    assert nuclei.editor.preview.drawing is None
    assert np.array_equal(nuclei.layer.data, nuclei.labels)
    assert not nuclei.editor.session.draft.has_records


def test_a_line_through_nothing_says_why_and_changes_nothing(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("cut"))
    nuclei.mouse.drag([(10, 10), (10, 20)])
    assert nuclei.said[-1] == "the line crosses no object. Drag across the one to split."
    nuclei.mouse.drag([(-30, -30), (-20, -20)])
    assert "crosses no object" in nuclei.said[-1]
    assert not nuclei.editor.session.draft.has_records


def test_the_nucleus_in_the_corner_can_be_cut_from_outside_the_image(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("cut"))
    nuclei.mouse.drag([(-3, 3.5), (9, 3.5)])
    assert nuclei.said[-1] == f"split nucleus {FIRST_NUMBER} into {FIRST_NUMBER} and {NEW}"


def test_a_drag_with_join_makes_one_object_of_neighbours(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("join"))
    nuclei.mouse.drag([(15, 3), (15, 15)])
    assert nuclei.said[-1] == f"joined nucleus {SECOND_ROW} and {SECOND_ROW + 1} into {SECOND_ROW}"
    assert not (nuclei.layer.data == SECOND_ROW + 1).any()
    assert (nuclei.layer.data[12:20, :20] == SECOND_ROW).all()


def test_a_line_around_half_a_nucleus_makes_it_another_one(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("outline"))
    nuclei.mouse.drag([(11, 16), (20, 16), (20, 20), (11, 20), (11, 17)])
    expected = nuclei.labels.copy()
    expected[11:21, 16:21] = NEW
    assert np.array_equal(nuclei.layer.data, expected)
    assert is_in_draft(nuclei)
    nuclei.case_controller.undo()
    assert np.array_equal(nuclei.layer.data, nuclei.labels)


@pytest.mark.parametrize("zoom", [1.0, 8.0])
def test_how_near_a_drag_begins_to_a_border_is_measured_on_the_screen(nuclei: SimpleNamespace, zoom: float) -> None:
    nuclei.mouse_tools.activate(get_tool("border"))
    nuclei.viewer.scene.camera.zoom = zoom / nuclei.layer.scale[-1]
    nuclei.mouse.drag([(9.5, 9.5), (12, 9.5)])
    assert ("no border within 2 px" in nuclei.said[-1]) == (zoom > 1)


def test_an_outline_shows_its_line_only_until_the_button_is_released(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("outline"))
    nuclei.mouse.press((11, 16))
    nuclei.mouse.drag_on((20, 20))
    nuclei.mouse_tools._drags.show()
    drawing = nuclei.editor.preview.drawing
    assert drawing.colours is None
    assert drawing.line.tolist() == [[11, 16], [20, 20]]


def test_a_stroke_on_background_is_a_new_object_and_the_next_one_another(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.choose_mode("paint")
    nuclei.layer.brush_size = 2
    nuclei.mouse.drag([(9.5, 30), (9.5, 50)])
    nuclei.mouse.drag([(9.5, 130), (9.5, 150)])
    assert nuclei.said[-1].startswith(f"new nucleus {NEW + 1}: ")
    assert np.unique(nuclei.layer.data[nuclei.labels == 0]).tolist() == [0, NEW, NEW + 1]
    assert np.array_equal(nuclei.layer.data[nuclei.labels > 0], nuclei.labels[nuclei.labels > 0])
    assert is_in_draft(nuclei)


@pytest.mark.parametrize("modifiers", [(), ("Shift",)])
def test_a_stroke_that_starts_inside_extends_and_only_shift_overwrites(
    nuclei: SimpleNamespace, modifiers: tuple[str, ...]
) -> None:
    nuclei.mouse_tools.choose_mode("paint")
    nuclei.layer.brush_size = 3
    nuclei.mouse.drag([(15, 3), (15, 15)], *modifiers)
    gained = (nuclei.layer.data == SECOND_ROW) & (nuclei.labels != SECOND_ROW)
    assert gained.any()
    assert (nuclei.labels[gained] == SECOND_ROW + 1).any() == bool(modifiers)
    assert nuclei.said[-1].startswith(f"extended nucleus {SECOND_ROW} by ")


def test_the_brush_with_background_erases_all_objects_as_before(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.choose_mode("paint")
    nuclei.layer.swap_selected_and_background_labels()
    nuclei.layer.brush_size = 3
    nuclei.mouse.drag([(15, 3), (15, 15)])
    assert not nuclei.layer.data[15, 3:16].any()
    assert is_in_draft(nuclei)


def test_fill_on_background_is_refused_in_any_task(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.choose_mode("fill")
    nuclei.mouse.drag([(10, 10)])
    assert nuclei.said[-1].startswith("the background is not filled")
    assert np.array_equal(nuclei.layer.data, nuclei.labels)


def test_lungs_have_no_cut_and_keep_naparis_brush(lungs: SimpleNamespace) -> None:
    lungs.mouse_tools.activate(get_tool("cut"))
    assert lungs.mouse_tools.tool is None
    assert "no numbered objects" in lungs.said[-1]
    lungs.mouse_tools.choose_mode("paint")
    lungs.layer.selected_label, lungs.layer.brush_size = 2, 3
    lungs.mouse.drag([(2, 2), (2, 9)])
    assert (lungs.layer.data[1, 2, 2:10] == 2).all()
    assert not lungs.layer.data[0, 2].any()
    lungs.mouse_tools.choose_mode("fill")
    lungs.mouse.drag([(5, 5)])
    assert lungs.said[-1].startswith("the background is not filled")


def test_the_smart_brush_keeps_what_a_person_painted_unless_shift_is_held(lungs: SimpleNamespace) -> None:
    lungs.layer.paint((1, 24, 12), 2)
    painted = lungs.layer.data == 2
    lungs.layer.selected_label, lungs.layer.brush_size = 1, 16
    lungs.mouse_tools.activate(get_tool("smart"))
    lungs.mouse.drag([(24, 14), (24, 20)])
    assert (lungs.layer.data[painted] == 2).all()
    lungs.layer.selected_label = 1
    lungs.mouse.drag([(24, 12)])
    assert lungs.said[-1].startswith("nothing changes: a person set all of it")
    assert lungs.said[-1].endswith("Hold Shift to paint over it.")
    lungs.mouse.drag([(24, 14), (24, 12)], "Shift")
    assert (lungs.layer.data[painted] == 1).any()


def test_a_held_key_lends_a_tool_and_a_tap_keeps_it(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.choose_mode("paint")
    key = nuclei.mouse_tools.hold(get_tool("cut"))
    next(key)
    assert (nuclei.mouse_tools.tool.name, nuclei.layer.mouse_pan) == ("cut", False)
    nuclei.mouse.press((10, 15.5))
    nuclei.mouse.drag_on((22, 15.5))
    next(key, None)  # let go before the button
    nuclei.mouse.release((22, 15.5))
    assert nuclei.said[-1].startswith("split nucleus")
    assert (nuclei.mouse_tools.tool, nuclei.mouse_tools.mode) == (None, "paint")
    key = nuclei.mouse_tools.hold(get_tool("join"))
    next(key)
    next(key, None)
    assert nuclei.mouse_tools.tool.name == "join"
    nuclei.layer.mode = "erase"
    assert (nuclei.mouse_tools.tool, nuclei.layer.mouse_pan, nuclei.layer.cursor) == (None, False, "circle")


def test_a_tool_stays_active_in_the_next_case_only_if_its_task_has_it(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.activate(get_tool("cut"))
    open_predicted(nuclei, phantom(), "lungs", phantom_labels())
    assert nuclei.mouse_tools.tool is None
    nuclei.mouse_tools.activate(get_tool("smart"))
    open_predicted(nuclei, phantom(2), "lungs", phantom_labels())
    assert nuclei.mouse_tools.tool.name == "smart"
    assert nuclei.editor.layer.cursor == "circle"


def test_all_tools_are_undone_after_a_restart(nuclei: SimpleNamespace, open_workspace: object) -> None:
    seen = [nuclei.layer.data.copy()]
    for name, places in (("cut", [(10, 15.5), (22, 15.5)]), ("join", [(15, 27), (15, 39)])):
        nuclei.mouse_tools.activate(get_tool(name))
        nuclei.mouse.drag(places)
        seen.append(nuclei.layer.data.copy())
    nuclei.mouse_tools.choose_mode("paint")
    nuclei.mouse.drag([(105.5, 30), (105.5, 50)])
    seen.append(nuclei.layer.data.copy())
    nuclei.mouse.move_to((15, 3))
    nuclei.correction.piece_actions.begin(next(action for action in PIECE_ACTIONS if action.name == "delete"))
    nuclei.editor.commit()
    seen.append(nuclei.layer.data.copy())
    case = nuclei.case_controller.current.case
    nuclei.case_controller.close_case()
    draft = review.open_review(open_workspace(), case, None)
    for labels in reversed(seen[:-1]):
        assert draft.undo() is not None
        assert np.array_equal(draft.labels, labels)
    assert draft.undo() is None


def test_two_polygons_of_napari_are_two_objects(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.choose_mode("polygon")
    for left in (0, 120):
        corners = [(9, left), (9, left + 30), (11, left + 30), (11, left)]
        nuclei.layer.paint_polygon(corners, nuclei.layer.selected_label)
    assert np.unique(nuclei.layer.data[nuclei.labels == 0]).tolist() == [0, NEW, NEW + 1]
    assert np.array_equal(nuclei.layer.data[nuclei.labels > 0], nuclei.labels[nuclei.labels > 0])


def test_a_tool_is_refused_where_the_slices_are_not_shown(lungs: SimpleNamespace) -> None:
    lungs.mouse_tools.activate(get_tool("smart"))
    lungs.viewer.dims.order = (1, 0, 2)
    lungs.mouse.press((2, 2))
    assert lungs.said[-1].startswith("the tools work on slices")
    assert not lungs.editor.session.draft.has_records


def test_a_stroke_is_dropped_by_esc_while_the_brush_of_objects_paints(nuclei: SimpleNamespace) -> None:
    nuclei.mouse_tools.choose_mode("paint")
    nuclei.mouse.press((9.5, 30))
    nuclei.mouse.drag_on((9.5, 50))
    escape = nuclei.layer.keymap[coerce_keybinding("Escape")]
    escape(nuclei.layer)
    nuclei.mouse.release((9.5, 50))
    assert np.array_equal(nuclei.layer.data, nuclei.labels)
    nuclei.mouse.drag([(9.5, 30), (9.5, 50)])
    assert coerce_keybinding("Escape") not in nuclei.layer.keymap
    assert NEW in nuclei.layer.data


def test_preserved_labels_of_the_lungs_survive_another_case(lungs: SimpleNamespace) -> None:
    labels = make_nuclei()
    lungs.layer.preserve_labels = True
    lungs.mouse_tools._on_mode()
    assert lungs.layer.preserve_labels
    first = lungs.case_controller.current.case
    open_predicted(lungs, stained(labels), "nuclei", labels)
    lungs.case_controller.open(first, phantom(n_slices=4))
    assert lungs.editor.layer.preserve_labels


def test_a_picked_object_stays_selected_after_a_key_over_a_piece(nuclei: SimpleNamespace) -> None:
    nuclei.layer.selected_label = FIRST_NUMBER
    nuclei.mouse_tools.activate(get_tool("cut"))
    nuclei.mouse.drag([(10, 15.5), (22, 15.5)])
    assert nuclei.layer.selected_label == FIRST_NUMBER
    nuclei.layer.selected_label = NEW + 1
    nuclei.mouse.drag([(10, 27.5), (22, 27.5)])
    assert nuclei.layer.selected_label == NEW + 2  # the cut has used it


@pytest.mark.parametrize(("key", "mode"), [("P", "paint"), ("E", "erase"), ("L", "pick")])
def test_the_keys_of_the_brush_leave_the_layer_of_the_reviewed_area(
    nuclei: SimpleNamespace, key: str, mode: str
) -> None:
    shapes = nuclei.viewer.add_shapes(None, ndim=2, metadata={METADATA_KEY: {"case": 1}})
    nuclei.viewer.layers.selection.active = shapes
    shapes.mode = "add_rectangle"
    shapes.keymap[coerce_keybinding(key)](shapes)
    assert (nuclei.viewer.layers.selection.active, str(nuclei.layer.mode)) == (nuclei.layer, mode)


def test_a_longer_stroke_of_the_smart_brush_computes_only_its_new_places(
    lungs: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lungs.layer.selected_label, lungs.layer.brush_size = 1, 8
    lungs.mouse_tools.activate(get_tool("smart"))
    n_computed: list[int] = []
    accept = smart_brush._accept
    monkeypatch.setattr(smart_brush, "_accept", lambda *args: n_computed.append(1) or accept(*args))
    path = [(20.0, 10.0 + 0.5 * step) for step in range(40)]
    lungs.mouse.press(path[0])
    for place in path[1:]:
        lungs.mouse.drag_on(place)
        lungs.mouse_tools._drags.show()
    lungs.mouse.release(path[-1])
    assert len(n_computed) < 2 * len(path), "else each move computes the whole stroke"
