"""Not a test: the real server of the engine with a predictor without torch, which starts in a fraction of a second.

`write_light_python` makes the "Python interpreter" that an `Engine` starts it with.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

from napari_medseg.core.image import Image
from napari_medseg.inference.events import (
    PredictionEvent,
    PredictionOptions,
    PredictionPart,
    PredictionProgress,
    PredictionResult,
)

SLICE_S = 0.02


class LightPredictor:
    """Finds the voxels above 0, slice by slice, and takes its time."""

    fell_back_at = None
    tuner = None

    @classmethod
    def load(cls, folder: Path, device: str, tuning: object = None) -> "LightPredictor":
        return cls()

    def predict(self, image: Image, options: PredictionOptions) -> Iterator[PredictionEvent]:
        image.pixels.astype(np.float32)  # pixels that are no numbers are a fault of this program, as for a network
        n_slices = image.spatial_shape[0] if len(image.spatial_shape) == 3 else 1
        for number in range(n_slices):
            yield PredictionProgress(number, n_slices, f"slice {number + 1} of {n_slices}", 1.0)
            time.sleep(SLICE_S)
            if options.with_parts and number == 0 and n_slices > 1:
                yield PredictionPart(0, (image.pixels[:1] > 0).astype(np.uint8))
        doubt = np.zeros(image.spatial_shape, np.uint8) if options.with_uncertainty_map else None
        yield PredictionResult((image.pixels > 0).astype(np.uint8), 0.1, doubt, 1.0, "CPU")


def write_light_python(folder: Path) -> str:
    """Write a command that ignores its arguments and starts this file; on Windows the real engine has to do."""
    if os.name != "posix":
        return sys.executable
    command = folder / "python"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -X utf8 "{Path(__file__).resolve()}"\n')
    command.chmod(0o755)
    return str(command)


def serve() -> None:
    """Serve requests as the engine does, with stand-ins for the two modules that load torch."""
    device = SimpleNamespace(choose_device=lambda _: SimpleNamespace(type="cpu"), describe_device=lambda _: "CPU")
    device.free_cached_memory = lambda _: None
    device.list_devices = device.name_devices = list
    device.explain_cpu = lambda _: ""
    for name, parts in (("device", vars(device)), ("predictor", {"Predictor": LightPredictor})):
        module = sys.modules[f"napari_medseg.inference.{name}"] = ModuleType(name)
        vars(module).update(parts)
    from napari_medseg.inference.engine import server

    assert "torch" not in sys.modules, "it would not be light"
    server.main()


if __name__ == "__main__":
    serve()
