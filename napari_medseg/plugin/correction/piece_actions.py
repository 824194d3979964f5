"""Keys that act on the piece under the cursor: pressed, they show what they would do; released, they do it."""

from collections.abc import Callable, Generator

from qtpy.QtCore import QObject

from napari_medseg.core.editing import whole_label
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.pieces import find_piece, find_piece_in_plane
from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.correction.editor import Editor, Request
from napari_medseg.plugin.correction.mouse_tools import MouseTools
from napari_medseg.plugin.correction.tools import PieceAction, make_rename_action

SPECK_SIZES = (3.0, 10.0, 30.0, 100.0)
"""Sizes below which a piece is a speck, offered in a menu: mm3 in a volume, mm2 on a slice, px without a spacing.

Of the images of a microscope, µm3 and µm2: a nucleus has 30 µm2, and a whole field less than 3 mm2.
"""
_MICROSCOPE_MM = 0.002
"""Pixels in which cells can be told apart are smaller; those of CT, micro-CT, OCT, X-rays and endoscopes are larger."""
_MM_OF_UM = {"mm²": 1e-6, "mm³": 1e-9}


class PieceActions(QObject):
    """Acts on the piece under the cursor, or on whole labels.

    Parameters
    ----------
    editor, mouse_tools
        What applies the edits; and what knows whether pieces are those of the slice or of the volume.
    """

    def __init__(self, editor: Editor, mouse_tools: MouseTools) -> None:
        super().__init__()
        self._editor = editor
        self._mouse_tools = mouse_tools

    def act_while_held(self, action: PieceAction) -> Generator[None]:
        """Show what an action does to the piece under the cursor; do it when the key is released."""
        self._mouse_tools.catch_escape()
        self.begin(action)
        yield
        self._editor.commit()
        self._mouse_tools.free_escape()

    def rename_while_held(self, number: int) -> Generator[None]:
        """Give the piece under the cursor the label with this number in the list, from 1."""
        task = self._editor.task
        if task.instances:
            self._editor.say(f"{task.title} has numbered objects: cut, join or delete them; a label has no other name.")
            yield
        elif number > len(task.labels):
            self._editor.say(f"{task.title} has {len(task.labels)} labels; there is no label {number}.")
            yield
        else:
            yield from self.act_while_held(make_rename_action(number, task.labels[number - 1].value))

    def begin(self, action: PieceAction) -> None:
        """Show what an action does to the piece under the cursor."""
        try:
            if reason := action.why_not(self._editor.task):
                raise MedSegError(f"{reason} that a piece could have.")
            seed = self._editor.find_cursor()
        except MedSegError as error:
            self._editor.drop_preview()
            self._editor.say(str(error))
            return

        def change_on_slice(canvas: Canvas) -> Edit:
            return action.make_edit(canvas, find_piece_in_plane(canvas.labels, seed))

        def change_in_volume(canvas: Canvas) -> Edit:
            return action.make_edit(canvas, find_piece(canvas.labels, seed))

        in_volume = self._mouse_tools.in_volume and len(seed) == len("ZYX")
        self._editor.begin(
            Request(
                change_in_volume if in_volume else change_on_slice,
                protects=action.protects,
                in_volume=in_volume,
                preview_edit=change_on_slice,
                is_outline=action.is_outline,
            )
        )

    def begin_removing_specks(self, size: float) -> None:
        """Show the pieces below a size, on the slice or in the volume."""
        self._editor.begin(self._make_request(lambda canvas, plane: _remove_specks(canvas, size, plane)))

    def begin_swapping(self, one: int, other: int) -> None:
        """Show two labels swapped, on the slice or in the volume."""
        request = self._make_request(lambda canvas, plane: _swap(canvas, one, other, plane), protects=False)
        self._editor.begin(request)

    def list_speck_sizes(self) -> list[tuple[float, str]]:
        """Return the sizes that are offered, and their text."""
        try:
            canvas = self._editor.make_canvas(protects=False)
        except MedSegError:
            return []
        unit = "px" if canvas.spacing_mm is None else "mm³" if self._is_in_volume(canvas) else "mm²"
        if canvas.spacing_mm is None and self._is_in_volume(canvas):
            unit = "voxels"
        is_of_microscope = canvas.spacing_mm is not None and min(canvas.spacing_mm[-2:]) < _MICROSCOPE_MM
        sizes = [size * _MM_OF_UM[unit] if is_of_microscope else size for size in SPECK_SIZES]
        return [(size, f"below {whole_label.format_speck_size(size, unit)}") for size in sizes]

    def list_swaps(self) -> list[tuple[int, int, str]]:
        """Return the pairs of labels that can be swapped, and their text."""
        labels = () if self._editor.task.instances else self._editor.task.labels
        pairs = [(one, other) for place, one in enumerate(labels) for other in labels[place + 1 :]]
        return [(one.value, other.value, f"{one.name} ↔ {other.name}") for one, other in pairs]

    def commit(self) -> None:
        """Do what is shown."""
        self._editor.commit()

    def cancel(self) -> None:
        """Drop what is only shown."""
        self._editor.drop_preview()

    def _is_in_volume(self, canvas: Canvas) -> bool:
        return self._mouse_tools.in_volume and canvas.labels.ndim == len("ZYX")

    def _make_request(self, change: Callable[[Canvas, int | None], Edit], *, protects: bool = True) -> Request:
        plane = self._editor.find_plane()
        in_volume = self._mouse_tools.in_volume and plane is not None
        return Request(
            lambda canvas: change(canvas, None if in_volume else plane),
            protects=protects,
            in_volume=in_volume,
            preview_edit=lambda canvas: change(canvas, plane),
        )


def _remove_specks(canvas: Canvas, size: float, plane: int | None) -> Edit:
    if canvas.labels.ndim == len("ZYX") and plane is None:
        return whole_label.remove_specks(canvas, size)
    return whole_label.remove_specks_in_plane(canvas, size, (), plane)


def _swap(canvas: Canvas, one: int, other: int, plane: int | None) -> Edit:
    if canvas.labels.ndim == len("ZYX") and plane is not None:
        return whole_label.swap_labels_in_plane(canvas, one, other, plane)
    return whole_label.swap_labels(canvas, one, other)
