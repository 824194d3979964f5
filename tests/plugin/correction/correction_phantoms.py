"""Nuclei with exact numbers, and a mouse and keys that reach the tools by napari's own dispatch."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.correction.tools import TOOLS, Tool
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace

PITCH_PX = 12
N_ROWS, N_COLUMNS = 25, 24
N_NUCLEI = N_ROWS * N_COLUMNS
FIRST_NUMBER = 700
"""Above 255, so that all numbers need 16 bits."""


def make_nuclei() -> NDArray[np.uint16]:
    """600 squares of 8 px at a pitch of 12 px, numbered from 700 on; the first lies in the corner of the image."""
    labels = np.zeros((N_ROWS * PITCH_PX, N_COLUMNS * PITCH_PX), np.uint16)
    for number in range(N_NUCLEI):
        y, x = (PITCH_PX * place for place in divmod(number, N_COLUMNS))
        labels[y : y + 8, x : x + 8] = FIRST_NUMBER + number
    return labels


def stained(labels: NDArray[Any]) -> Image:
    """Stained image of these nuclei: dark where there are some."""
    pixels = np.full((*labels.shape, 3), 220, np.uint8)
    pixels[labels > 0] = (110, 60, 140)
    return Image(pixels=pixels, axes="YXC", spacing_mm=None, units="rgb", name="nuclei", group="slide 1")


def open_predicted(window: SimpleNamespace, image: Image, task: str, labels: NDArray[Any]) -> None:
    """Open a case with predicted labels."""
    ws: Workspace = window.ws
    (case,) = cases.add_cases(ws, [image], task)
    review.record_prediction(ws, case, PredictionResult(labels, 0.1, None, 1.0, "CPU"), f"{task}-unet@1")
    window.case_controller.open(case, image)


def get_tool(name: str) -> Tool:
    return next(tool for tool in TOOLS if tool.name == name)


class Mouse:
    """The mouse on a viewer model: it calls what napari's canvas would call, with positions (y, x) in pixels."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer

    def move_to(self, place: tuple[float, float]) -> None:
        self._viewer.cursor.position = self._to_world(place)

    def press(self, place: tuple[float, float], *modifiers: str) -> None:
        self._send("mouse_press", place, modifiers)

    def drag_on(self, place: tuple[float, float], *modifiers: str) -> None:
        self._send("mouse_move", place, modifiers)

    def release(self, place: tuple[float, float], *modifiers: str) -> None:
        self._send("mouse_release", place, modifiers)

    def drag(self, places: Iterable[tuple[float, float]], *modifiers: str) -> None:
        first, *others = places
        self.press(first, *modifiers)
        for place in others:
            self.drag_on(place, *modifiers)
        self.release((others or [first])[-1], *modifiers)

    def _send(self, kind: str, place: tuple[float, float], modifiers: tuple[str, ...]) -> None:
        dims = self._viewer.dims
        event = SimpleNamespace(
            type=kind,
            button=1,
            modifiers=modifiers,
            position=self._to_world(place),
            dims_displayed=list(dims.displayed),
            dims_point=list(dims.point),
            is_dragging=kind == "mouse_move",
            view_direction=None,
            camera_zoom=self._viewer.scene.camera.zoom,
            handled=False,
        )
        self._viewer.cursor.position = event.position
        call = {
            "mouse_press": mouse_press_callbacks,
            "mouse_move": mouse_move_callbacks,
            "mouse_release": mouse_release_callbacks,
        }[kind]
        call(self._viewer.layers.selection.active, _Event(event))

    def _to_world(self, place: tuple[float, float]) -> tuple[float, ...]:
        layer = self._viewer.layers.selection.active
        index = (*layer.world_to_data(self._viewer.dims.point[-layer.ndim :])[:-2], *place)
        return tuple(map(float, layer.data_to_world(index)))


class _Event:
    """An event that napari replaces by the next one while a drag goes on."""

    def __init__(self, event: SimpleNamespace) -> None:
        self.__wrapped__ = event

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)
