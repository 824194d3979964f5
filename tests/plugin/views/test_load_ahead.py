"""What napari needs for its first layers is loaded before the first drop."""

import os
import subprocess
import sys


def test_napari_has_loaded_all_that_its_first_layers_need() -> None:
    """In a process of its own, as other tests load it, too."""
    code = """
import sys
from napari.layers import Image, Labels
from napari_medseg.plugin.views.load_ahead import load_for_first_layers
from qtpy.QtWidgets import QApplication
import numpy as np
application = QApplication([])
for _ in load_for_first_layers(): pass
loaded = set(sys.modules)
Image(np.zeros((9, 9)), units="mm"), Labels(np.zeros((3, 9, 9), int), units=("mm",) * 3)
assert not set(sys.modules) - loaded, set(sys.modules) - loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"})
