"""An engine without a process, a process without a network, and states that it left."""

import hashlib
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from workflow_phantoms import phantom_labels

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import read_card, write_card
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.workflow.learning.states import AdaptedState, read_state
from napari_medseg.workflow.workspace import Workspace
from training.adapt.request import AdaptRequest, AdaptResult, write_request, write_result

FAKE_ADAPTER = """
import hashlib, json, pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("training.adapt") + 1])
request = json.loads((folder / "request.json").read_text())
while (folder / "pause").exists():
    time.sleep(0.01)
MODE
weights = ("adapted to " + str(request["corrections"])).encode()
(folder / "model.safetensors").write_bytes(weights)
card = json.loads((pathlib.Path(request["base"]) / "card.json").read_text())
card["weights_sha256"] = hashlib.sha256(weights).hexdigest()
(folder / "card.json").write_text(json.dumps(card))
done = {"kept": True, "weights_sha256": card["weights_sha256"]}
(folder / "result.json").write_text(json.dumps(done))
"""


def write_fake_python(folder: Path, mode: str = "") -> str:
    """A program that stands in for Python: it leaves what an adaptation leaves, and loads no torch."""
    script, program = folder / "fake_adapter.py", folder / "fake_python"
    script.write_text(FAKE_ADAPTER.replace("MODE", mode))
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{script}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def write_state(ws: Workspace, corrections: tuple[int, ...], weights: bytes = b"adapted") -> AdaptedState:
    """A state as an adaptation of the live version leaves it; it is not in use yet."""
    folder = ws.adapted.make_folder()
    live = ws.registry.get_live_card("lungs")
    sha256 = hashlib.sha256(weights).hexdigest()
    (folder / "model.safetensors").write_bytes(weights)
    write_card(live.model_copy(update={"weights_sha256": sha256}), folder / "card.json")
    base = str(ws.registry.get_folder(live.id))
    request = AdaptRequest(parent=live.id, parent_sha256=live.weights_sha256, base=base, corrections=corrections)
    write_request(request, folder)
    write_result(AdaptResult(kept=True, weights_sha256=sha256), folder)
    state = read_state(folder)
    assert state is not None
    return state


class FolderEngine:
    """Predicts the phantom's labels, and remembers the weights that it was asked to use; `broken` ones it refuses.

    To `known` ones each image is like the training images.
    """

    def __init__(self) -> None:
        self.used: list[bytes] = []
        self.broken: tuple[bytes, ...] = ()
        self.known: tuple[bytes, ...] = ()

    def predict(self, image: Image, version_folder: Path, **_: object) -> Iterator[PredictionEvent]:
        weights = (version_folder / "model.safetensors").read_bytes()
        self.used.append(weights)
        if weights in self.broken:
            raise MedSegError("the prediction process ended unexpectedly")
        labels = phantom_labels()
        labels[:5, :5] = 1 if weights != b"weights" else 0
        yield PredictionResult(labels.astype(np.uint8), 0.1, None, 0.5, "CPU", is_like_training=weights in self.known)

    def close(self) -> None:
        pass


def read_json(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text()))


def get_sha256(folder: Path) -> str:
    return read_card(folder / "card.json").weights_sha256
