"""The correction tools on napari's viewer model, with a real project behind them."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from correction_phantoms import Mouse, make_nuclei, open_predicted, stained
from plugin_phantoms import phantom, phantom_labels

from napari_medseg.plugin.correction.correction_tools import CorrectionTools


@pytest.fixture
def tools(window: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The window's parts, the tools, and what they said."""
    window.worklist.set_predicts_automatically(False)
    window.correction = CorrectionTools(window.viewer, window.case_controller, lambda: window.worklist.open_task)
    window.editor = window.correction.editor
    window.mouse_tools = window.correction.mouse_tools
    window.mouse = Mouse(window.viewer)
    window.said = []
    window.editor.said.connect(window.said.append)
    yield window
    window.correction.close()


@pytest.fixture
def nuclei(tools: SimpleNamespace) -> SimpleNamespace:
    """600 predicted nuclei."""
    tools.labels = make_nuclei()
    open_predicted(tools, stained(tools.labels), "nuclei", tools.labels)
    tools.layer = tools.case_controller.current.labels_layer
    tools.viewer.layers.selection.active = tools.layer
    return tools


@pytest.fixture
def lungs(tools: SimpleNamespace) -> SimpleNamespace:
    """Predicted lungs on 4 slices."""
    tools.labels = phantom_labels(4)
    open_predicted(tools, phantom(n_slices=4), "lungs", tools.labels)
    tools.layer = tools.case_controller.current.labels_layer
    tools.viewer.layers.selection.active = tools.layer
    tools.viewer.dims.set_current_step(0, 1)
    return tools
