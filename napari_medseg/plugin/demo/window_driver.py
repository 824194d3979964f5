"""Controls a real window from a script: trigger an action, wait for the result, and take a screenshot."""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton

from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin import layers

if TYPE_CHECKING:
    from napari import Viewer

    from napari_medseg.plugin.controllers.open_case import OpenCase
    from napari_medseg.plugin.dock import Dock
    from napari_medseg.plugin.main_widget import MedSegWidget
    from napari_medseg.workflow.workspace import Workspace

TIMEOUT_S = 240.0
POLL_INTERVAL_S = 0.02
REPAINT_DELAY_S = 0.4


class WindowDriver:
    """Controls the window and the dock, and collects the output files.

    Parameters
    ----------
    viewer, widget
        The window and the MedSeg dock in it.
    folder
        Folder for screenshots and exports.
    """

    def __init__(self, viewer: "Viewer", widget: "MedSegWidget", folder: Path) -> None:
        if widget.dock is None or widget.workspace is None:
            raise MedSegError("no project is open in the dock. Look at the messages above.")
        self.viewer = viewer
        self.widget = widget
        self.folder = folder
        self.dock: Dock = widget.dock
        self.workspace: Workspace = widget.workspace
        self.files: list[Path] = []

    @property
    def current_case(self) -> "OpenCase":
        """The open case; raises `MedSegError` if there is none."""
        if self.dock.case_controller.current is None:
            raise MedSegError("no case is open now. Look at the last screenshot.")
        return self.dock.case_controller.current

    @property
    def labels_layer(self) -> Labels:
        """The labels layer of the open case; raises `MedSegError` if there is none yet."""
        if self.current_case.labels_layer is None:
            raise MedSegError(f"{self.current_case.case.name} has no labels now. Look at the last screenshot.")
        return self.current_case.labels_layer

    def print_message(self, text: str) -> None:
        """Print a message on the terminal."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def drop_files(self, paths: Iterable[Path]) -> None:
        """Read files as a drop on the canvas does."""
        self.dock.worklist.importer.read(list(paths))

    def click_button(self, text: str) -> None:
        """Click the visible, enabled button whose text starts with `text`; raise `MedSegError` if there is none."""
        for button in self.widget.findChildren(QPushButton):
            if button.isVisible() and button.isEnabled() and button.text().startswith(text):
                button.click()
                return
        raise MedSegError(f"there is no enabled button {text!r} now. Look at the last screenshot.")

    def choose_entry(self, text: str) -> None:
        """Select an entry in the visible combo box that contains it; raise `MedSegError` if there is none."""
        for box in self.widget.findChildren(QComboBox):
            if box.isVisible() and (index := box.findText(text)) >= 0:
                box.setCurrentIndex(index)
                return
        raise MedSegError(f"no visible list has the entry {text!r}. Look at the last screenshot.")

    def wait_until(self, what: str, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Process window events until `condition()` is true; raise `MedSegError` with `what` after the timeout."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise MedSegError(
                    f"the demo waited {timeout_s:.0f} s for {what}, without success. "
                    f"Look at the last screenshot in {self.folder.name} and at the messages above."
                )
            self.process_events(POLL_INTERVAL_S)

    def process_events(self, seconds: float) -> None:
        """Process window events for some seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            QApplication.processEvents()
            time.sleep(min(POLL_INTERVAL_S, left))

    def save_screenshot(self, name: str) -> None:
        """Save a screenshot of the whole window."""
        self.process_events(REPAINT_DELAY_S)
        path = self.folder / f"{name}.png"
        self.viewer.window.screenshot(str(path), canvas_only=False, flash=False)
        self.add_files(path)

    def add_files(self, *paths: Path) -> None:
        """Add files to the list of output files."""
        self.files.extend(paths)

    def correct_labels(self, truth: NDArray[Any]) -> int:
        """Change the open labels to `truth` (same shape), one stroke per label; return the number of changed voxels."""
        layer = self.labels_layer
        shown = layers.copy_labels(layer)
        n_changed = 0
        for value in np.unique(truth):
            where = np.nonzero((truth == value) & (shown != value))
            if where[0].size:
                layer.data_setitem(where, value)
                n_changed += where[0].size
        self.process_events(POLL_INTERVAL_S)
        return n_changed
