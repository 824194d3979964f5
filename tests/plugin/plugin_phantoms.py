"""Phantoms for the window's tests: pictures with exact label counts, and an engine that knows them by their grey."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
from napari.utils.notifications import notification_manager
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import (
    Architecture,
    DataSource,
    Lineage,
    ModelCard,
    Preprocessing,
    Score,
    read_card,
    write_card,
)
from napari_medseg.core.records import Run, RunState, now
from napari_medseg.core.snapshot import Snapshot, write_snapshot
from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.inference.engine.interface import EngineState, PredictionCancelled
from napari_medseg.inference.events import PredictionEvent, PredictionPart, PredictionProgress, PredictionResult
from napari_medseg.inference.probabilities.probability_file import ProbabilityHeader, ProbabilityWriter
from napari_medseg.workflow import run_control
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Event, append_event

ACTION = Qt.DropAction.CopyAction
NO_KEY = Qt.KeyboardModifier.NoModifier
SHAPE = (48, 64)
RIGHT = (slice(10, 38), slice(6, 26))
LEFT = (slice(10, 38), slice(38, 58))
N_RIGHT = N_LEFT = 28 * 20


def phantom_labels(n_slices: int = 0) -> NDArray[np.uint8]:
    """Right lung on the picture's left, left lung on its right; a volume where `n_slices` is given."""
    plane = np.zeros(SHAPE, np.uint8)
    plane[RIGHT], plane[LEFT] = 1, 2
    return np.stack([plane] * n_slices) if n_slices else plane


def phantom(number: int = 0, n_slices: int = 0, group: str = "") -> Image:
    """A grey picture, or volume, with two dark lungs; each number another content."""
    labels = phantom_labels(n_slices)
    rng = np.random.default_rng(number)
    pixels = rng.integers(150, 200, labels.shape)
    pixels[labels > 0] = rng.integers(10, 60, int((labels > 0).sum()))
    return Image(
        pixels=pixels.astype(np.uint8),
        axes="ZYX" if n_slices else "YX",
        spacing_mm=(5.0, 0.5, 0.5) if n_slices else (0.5, 0.5),
        name=f"slice {number}",
        group=group or f"patient {number}",
    )


def write_phantom(folder: Path, number: int) -> Path:
    """A phantom in a TIFF file, as one that a person drops."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"case{number}.tif"
    formats.write_image(path, phantom(number))
    return path


def phantom_card(version: int = 1, **changes: object) -> ModelCard:
    """A card with something in each field that a person reads."""
    card = ModelCard(
        name="lungs-unet",
        version=version,
        task="lungs",
        architecture=Architecture(name="unet", in_channels=1, classes=3),
        preprocessing=Preprocessing(),
        training_data=[DataSource(name="phantoms <b>", n_images=9, groups=3, labels="exact", licence="CC0")],
        hold_out=[
            Score(
                dataset="other phantoms",
                n_images=4,
                n_groups=2,
                mean=0.971,
                worst=0.911,
                ci_low=0.96,
                ci_high=0.98,
                per_label={"right lung": 0.972},
                labels_by="construction",
            )
        ],
        weaknesses=["sees grey only"],
        lineage=Lineage(parent=f"lungs-unet@{version - 1}" if version > 1 else None, created="2026-01-02T03:04:05"),
        licence="CC BY 4.0",
        weights_sha256=hashlib.sha256(f"weights {version}".encode()).hexdigest(),
    )
    return card.model_copy(update=changes)


def write_version(folder: Path, version: int = 1, **changes: object) -> Path:
    """A version whose weights are never loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(f"weights {version}".encode())
    write_card(phantom_card(version, **changes), folder / "card.json")
    return folder


class PhantomEngine:
    """Stands in for the engine process where the network is not the point: dark is lung, its side by the middle.

    `part`, where set, comes first. `gate`, where set, holds predictions until it is opened; `error`, where set, is
    raised instead of a result. It is sure of its labels, but for the boxes in `doubtful`, where the background is
    nearly as likely.
    """

    def __init__(self) -> None:
        self.state: EngineState = "stopped"
        self.device = "CPU"
        self.devices: tuple[DeviceStatus, ...] = ()
        self.cpu_reason = ""
        self.device_name = ""
        self.gate: threading.Event | None = None
        self.part: PredictionPart | None = None
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.doubtful: list[tuple[slice, ...]] = []
        self.n_probabilities = 0
        self.change: Callable[[NDArray[np.uint8]], None] = lambda labels: None
        self._n_cancels = 0

    def use_device(self, name: str) -> None:
        self.device_name = name

    def start(self) -> None:
        self.state = "ready"

    def close(self) -> None:
        self.state = "stopped"
        self.cancel()

    def cancel(self) -> None:
        self._n_cancels += 1

    def cancel_gracefully(self) -> None:
        self.cancel()

    def predict(
        self,
        image: Image,
        version_folder: Path,
        *,
        with_uncertainty_map: bool = False,
        roi_folder: Path | None = None,
        probabilities_file: Path | None = None,
    ) -> Iterator[PredictionEvent]:
        self.asked.append(image.name)
        ticket = self._n_cancels
        yield PredictionProgress(0, 2, "slice 0 of 2", 1.0)
        if self.part is not None:
            yield self.part
        while self.gate is not None and not self.gate.wait(0.005):
            if ticket != self._n_cancels:
                raise PredictionCancelled("the prediction was cancelled")
        if self.error is not None:
            raise self.error
        labels = np.zeros(image.spatial_shape, np.uint8)
        middle = labels.shape[-1] // 2
        dark = (image.pixels if "C" not in image.axes else image.pixels.min(axis=-1)) < 100
        labels[..., :middle][dark[..., :middle]] = 1
        labels[..., middle:][dark[..., middle:]] = 2
        self.change(labels)
        doubt = np.full(labels.shape, 128, np.uint8) if with_uncertainty_map else None
        if probabilities_file is not None:
            self.n_probabilities += 1
            write_probabilities(probabilities_file, labels, self.doubtful, version_folder)
        roi = (labels > 0).astype(np.uint8) if roi_folder is not None else None
        yield PredictionResult(labels, 0.1, doubt, 0.01, "CPU", roi)


def write_probabilities(
    path: Path, labels: NDArray[np.uint8], doubtful: Sequence[tuple[slice, ...]], version_folder: Path
) -> None:
    """Write what the engine writes: 0.9 for its labels; 0.6 in the doubtful boxes, and 0.4 for the other side."""
    own = np.full(labels.shape, 230, np.uint8)
    for box in doubtful:
        own[box] = 153
    maps = np.zeros((3, *labels.shape), np.uint8)
    np.put_along_axis(maps, labels[np.newaxis].astype(int), own[np.newaxis], axis=0)
    rest = np.where(labels > 0, 0, 1)[np.newaxis]
    np.put_along_axis(maps, rest, 255 - own[np.newaxis], axis=0)
    writer = ProbabilityWriter(path)
    for plane, part in enumerate(np.moveaxis(maps.reshape(3, -1, *labels.shape[-2:]), 1, 0)):
        writer.write(plane, 0, part)
    size = (labels.shape[-2], labels.shape[-1])
    weights = read_card(version_folder / "card.json").weights_sha256
    writer.finish(
        ProbabilityHeader(
            shape=labels.shape, n_maps=3, maps="classes", corner=(0, 0), size=size, weights_sha256=weights
        )
    )


def drop_of(*paths: Path) -> tuple[QDropEvent, QMimeData]:
    """A real drop event with these files; the mime data must live as long as the event."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(QPointF(20, 20), ACTION, mime, Qt.MouseButton.LeftButton, NO_KEY, QEvent.Type.Drop)
    return event, mime


def drop_on(target: QWidget, *paths: Path) -> bool:
    """Drop files on a widget as Qt does it, entering first; return whether the drop was accepted."""
    event, mime = drop_of(*paths)
    entering = QDragEnterEvent(QPoint(20, 20), ACTION, mime, Qt.MouseButton.LeftButton, NO_KEY)
    QApplication.sendEvent(target, entering)
    QApplication.sendEvent(target, event)
    return bool(event.isAccepted())


class Texts:
    """The texts of napari's notifications since it was made; `in` looks for a part of one."""

    def __init__(self) -> None:
        self._before = len(notification_manager.records)

    def __iter__(self) -> Iterator[str]:
        return iter([record.message for record in list(notification_manager.records)[self._before :]])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, text: str) -> bool:
        return any(text in message for message in self)


class RunFolder:
    """A run as the trainer leaves it; our own process stands in for the trainer's."""

    def __init__(self, ws: Workspace, task: str = "lungs") -> None:
        self.run = Run("20260102-x", task, "lungs-unet@1", "runs/20260102-x", RunState.RUNNING, 1, None, now())
        self.folder = run_control.get_run_folder(ws, self.run)
        self.folder.mkdir(parents=True)
        write_snapshot(Snapshot(task="lungs", items=()), self.folder / "snapshot.json")
        process = psutil.Process(os.getpid())
        started = {"pid": process.pid, "started": process.create_time()}
        (self.folder / "process.json").write_text(json.dumps(started))
        write_version(self.folder, 2)
        (self.folder / "card.json").write_text(phantom_card(2).model_dump_json())
        ws.project.insert(self.run)

    def die(self) -> None:
        """From now on no process works on it: the number belongs to another one."""
        path = self.folder / "process.json"
        known = json.loads(path.read_text())
        path.write_text(json.dumps(known | {"started": known["started"] - 100}))

    def say(self, *events: Event) -> None:
        for event in events:
            append_event(self.folder, event)
