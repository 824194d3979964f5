"""What napari loads and computes for its first layers, done in steps after the window has opened.

Else it is done at the first drop and at its first labels, while a person waits: 520 modules, units, templates of
shaders, the controls of a layer, and the patterns of dashed lines, which vispy computes for the outline of a polygon.
"""

import threading
from collections.abc import Generator

import numpy as np
from napari._qt.layer_controls.qt_layer_controls_container import create_qt_layer_controls
from napari._vispy.utils.qt_font import FontInfo
from napari._vispy.utils.visual import create_vispy_layer
from napari.layers import Image, Labels, Layer
from vispy.visuals.line.dash_atlas import DashAtlas

from napari_medseg.plugin.layer_reuse import get_new_image_look, get_new_labels_look


def load_for_first_layers() -> Generator[None]:
    """Load in steps; no layer is added to a viewer.

    Not in a thread: units are unknown to the main thread while another one reads their registry. The patterns are
    numbers only, so a thread computes them; vispy keeps them.
    """
    threading.Thread(target=DashAtlas, daemon=True).start()
    for ndim in (2, 3):
        get_new_image_look(ndim)
        yield
        get_new_labels_look(ndim)
        yield
    for layer in (Image(np.zeros((2, 2), np.uint8)), Labels(np.zeros((2, 2), np.uint8))):
        _make_visual(layer)
        yield
        _make_controls(layer)
        yield


def _make_visual(layer: Layer) -> None:
    """Make what draws a layer, in no canvas."""
    create_vispy_layer(layer, font_info=FontInfo()).close()


def _make_controls(layer: Layer) -> None:
    """Make the controls of a layer, in no window."""
    controls = create_qt_layer_controls(layer)
    controls.close()
    controls.deleteLater()
