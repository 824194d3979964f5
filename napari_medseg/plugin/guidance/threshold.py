"""Grow or shrink the piece under the cursor, or a label, along the model's probability."""

from collections.abc import Generator

import numpy as np
from qtpy.QtCore import QObject

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.model_threshold import (
    NEUTRAL,
    threshold_label,
    threshold_label_in_plane,
    threshold_piece,
)
from napari_medseg.core.editing.pieces import find_piece, find_piece_in_plane
from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.correction.editor import Editor, Request
from napari_medseg.plugin.correction.mouse_tools import MouseTools
from napari_medseg.plugin.guidance.model_maps import ModelMaps

STEP = 0.1
SAME_PLACE_PX = 3
"""The mouse may move by this much between two steps for one piece."""
LOWEST, HIGHEST = 0.02, 0.98


class ModelThreshold(QObject):
    """Moves outlines along the model's probability: by keys at the mouse, or by a slider for the selected label.

    Parameters
    ----------
    editor, mouse_tools, maps
        What changes labels, what knows whether in the slice or in the volume, and what knows the probabilities.
    """

    def __init__(self, editor: Editor, mouse_tools: MouseTools, maps: ModelMaps) -> None:
        super().__init__()
        self._editor = editor
        self._mouse_tools = mouse_tools
        self._maps = maps
        self._threshold = NEUTRAL
        self._last_seed: tuple[int, ...] | None = None
        editor.applied.connect(self._on_applied)
        editor.case_changed.connect(self._start_anew)

    def step_while_held(self, direction: int) -> Generator[None]:
        """Show the piece under the cursor grown (+1) or shrunk (-1) by a step of probability; apply on release.

        Steps that follow each other at one place go on from where the last one was, also if it changed nothing.
        """
        try:
            self._maps.ensure()
            seed = self._editor.find_cursor()
        except MedSegError as error:
            self._editor.drop_preview()
            self._editor.say(str(error))
            yield
            return
        self._threshold = self._find_next(direction, seed)
        self._last_seed = seed
        if self._editor.begin(self._make_piece_request(seed, self._threshold)):
            yield
            self._editor.commit()
        else:
            yield

    def show_label(self, threshold: float, *, only_on_slice: bool = False) -> None:
        """Show the selected label, or the selected object, at a threshold; 0.5 shows it as it is.

        `only_on_slice` is for a slider that still moves: a volume takes a second for each step.
        """
        self._editor.drop_preview()
        layer = self._editor.layer
        try:
            self._maps.ensure()
        except MedSegError as error:
            self._editor.say(str(error))
            return
        if layer is None or threshold == NEUTRAL:
            return
        value, plane = int(layer.selected_label), self._editor.find_plane()
        if self._editor.task.instances:
            self._show_object(value, threshold)
            return
        in_volume = self._mouse_tools.in_volume and plane is not None and not only_on_slice

        def change_on_slice(canvas: Canvas) -> Edit:
            return threshold_label_in_plane(canvas, value, threshold, plane)

        def change_in_volume(canvas: Canvas) -> Edit:
            return threshold_label(canvas, value, threshold)

        change = change_in_volume if in_volume else change_on_slice
        self._editor.begin(Request(change, in_volume=in_volume, preview_edit=change_on_slice))

    def apply(self) -> None:
        """Apply what `show_label` showed."""
        self._editor.commit()

    def _show_object(self, value: int, threshold: float) -> None:
        def change(canvas: Canvas) -> Edit:
            places = np.flatnonzero(canvas.labels == value) if value else np.empty(0, np.int64)
            if not places.size:
                raise MedSegError("no object is selected. Pick one (L), or point at one and press . or ,")
            seed = tuple(int(axis) for axis in np.unravel_index(places[places.size // 2], canvas.shape))
            return threshold_piece(canvas, find_piece_in_plane(canvas.labels, seed), threshold)

        self._editor.begin(Request(change))

    def _make_piece_request(self, seed: tuple[int, ...], threshold: float) -> Request:
        in_volume = self._mouse_tools.in_volume and len(seed) == len("ZYX")

        def change_on_slice(canvas: Canvas) -> Edit:
            return threshold_piece(canvas, find_piece_in_plane(canvas.labels, seed), threshold)

        def change_in_volume(canvas: Canvas) -> Edit:
            return threshold_piece(canvas, find_piece(canvas.labels, seed), threshold)

        return Request(
            change_in_volume if in_volume else change_on_slice,
            in_volume=in_volume,
            preview_edit=change_on_slice,
            is_outline=True,
        )

    def _find_next(self, direction: int, seed: tuple[int, ...]) -> float:
        last = self._last_seed
        goes_on = last is not None and all(abs(a - b) <= SAME_PLACE_PX for a, b in zip(last, seed, strict=True))
        start = self._threshold if goes_on else NEUTRAL
        wanted = round(start - direction * STEP, 2)
        if wanted == NEUTRAL:
            wanted = round(wanted - direction * STEP, 2)
        return float(np.clip(wanted, LOWEST, HIGHEST))

    def _on_applied(self, edit: Edit) -> None:
        """Begin at the model's border again after another tool."""
        if "at threshold" not in edit.message:
            self._start_anew()

    def _start_anew(self) -> None:
        self._last_seed = None
