"""The window of the open image: presets, own values, and what is kept for each kind of image."""

from napari.layers import Image as ImageLayer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.image import Image
from napari_medseg.core.tasks.display_windows import (
    Limits,
    compute_preset_limits,
    drag_limits,
    explain_missing_preset,
    find_preset,
)
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.preferences import read_preferences, write_preferences
from napari_medseg.workflow.workspace import Workspace

STORE_AFTER_MS = 800
SMALLEST_SHARE = 1e-4
"""Smallest window of fractional values, as a share of the window before a drag."""


class DisplayWindow(QObject):
    """Sets which grey values of the open image are black and white.

    What a person chose is kept for the task and the kind of image, as a preference: it comes back with the next case.

    Notes
    -----
    `changed` is emitted when the window, or the open image, changed.
    """

    changed = Signal()

    def __init__(self, case_controller: CaseController, workspace: Workspace) -> None:
        super().__init__()
        self._case_controller = case_controller
        self._workspace = workspace
        self._kept = dict(read_preferences(workspace.registry).display_windows)
        self._unwritten: dict[str, str | Limits] = {}
        self._preset = ""
        self._before_drag: Limits | None = None
        self._store_timer = QTimer(self)
        self._store_timer.setSingleShot(True)
        self._store_timer.setInterval(STORE_AFTER_MS)
        self._store_timer.timeout.connect(self._store)
        case_controller.opened.connect(self._on_opened)

    @property
    def image(self) -> Image | None:
        """The open image; `None` without a case."""
        current = self._case_controller.current
        return None if current is None else current.image

    @property
    def limits(self) -> Limits | None:
        """The values shown black and white; `None` without a case, and for colours."""
        layer = self._get_layer()
        return None if layer is None else (float(layer.contrast_limits[0]), float(layer.contrast_limits[1]))

    @property
    def preset(self) -> str:
        """The preset that is shown; empty for own values."""
        return self._preset

    def explain_missing(self, preset: str) -> str:
        """Return why a preset cannot be chosen now; empty if it can."""
        return "open a case first" if self.image is None else explain_missing_preset(self.image, preset)

    def show_preset(self, preset: str) -> str:
        """Show the open image with a preset, and keep it for such images; return why not, or an empty text."""
        if reason := self.explain_missing(preset):
            return reason
        current = self._case_controller.current
        if current is not None:
            self._set_limits(current.image_layer, compute_preset_limits(current.image, preset), preset)
            self._keep(current, preset)
        return ""

    def begin_drag(self) -> bool:
        """Remember the window at the start of a drag; return whether the open image has one."""
        self._before_drag = self.limits
        return self._before_drag is not None

    def drag(self, right_px: float, down_px: float) -> None:
        """Show the window after a drag so far from its start: to the right wider, upwards brighter."""
        layer = self._get_layer()
        if layer is None or self._before_drag is None:
            return
        low, high = self._before_drag
        is_whole = layer.dtype.kind in "iub"
        smallest = 1.0 if is_whole else (high - low) * SMALLEST_SHARE
        self._set_limits(layer, drag_limits(self._before_drag, right_px, down_px, smallest), "")

    def end_drag(self) -> None:
        """Keep the window for such images."""
        current, limits = self._case_controller.current, self.limits
        if current is not None and limits is not None and limits != self._before_drag:
            self._keep(current, limits)
        self._before_drag = None

    def close(self) -> None:
        """Write what was chosen last."""
        self._store_timer.stop()
        self._store()

    def _get_layer(self) -> ImageLayer | None:
        current = self._case_controller.current
        return None if current is None or current.image.axes.endswith("C") else current.image_layer

    def _set_limits(self, layer: ImageLayer, limits: Limits, preset: str) -> None:
        self._preset = preset
        layer.contrast_limits = limits
        self.changed.emit()

    def _on_opened(self) -> None:
        self._before_drag = None
        self._preset = ""
        current, layer = self._case_controller.current, self._get_layer()
        if current is not None and layer is not None:
            kept = self._kept.get(_get_kind(current))
            if isinstance(kept, str) and not explain_missing_preset(current.image, kept):
                self._set_limits(layer, compute_preset_limits(current.image, kept), kept)
            elif isinstance(kept, tuple) and kept[0] < kept[1]:
                self._set_limits(layer, kept, "")
            else:
                self._preset = find_preset(current.image, self.limits or (0.0, 0.0))
        self.changed.emit()

    def _keep(self, current: OpenCase, chosen: str | Limits) -> None:
        kind = _get_kind(current)
        self._kept[kind] = self._unwritten[kind] = chosen
        self._store_timer.start()

    def _store(self) -> None:
        if self._unwritten:
            chosen, self._unwritten = self._unwritten, {}
            preferences = read_preferences(self._workspace.registry)
            update = {"display_windows": preferences.display_windows | chosen}
            with show_errors():
                write_preferences(self._workspace.registry, preferences.model_copy(update=update))


def _get_kind(current: OpenCase) -> str:
    """Return the task with what grey values mean: own values of a CT make no sense on a film of 8 bits."""
    image = current.image
    return f"{current.case.task} {'HU' if image.units == 'HU' else f'{image.units} {image.pixels.dtype}'}"
