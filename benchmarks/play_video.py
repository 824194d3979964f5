"""How many pictures a second the real window shows of a video with labels, and what each costs of the processor."""

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from long_videos import RATE, write_segment
from qtpy.QtWidgets import QApplication

from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.plugin.demo.demo import open_window
from napari_medseg.plugin.demo.window_driver import WindowDriver
from napari_medseg.workflow.video.predicted_frames import PredictedFrames
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari_medseg.plugin.dock import Dock

TASK = "instruments"
WINDOW = (1280, 720)
GROUP = 12
CLIP_S = 15
LABEL_EVERY = 2
WAIT_S = 120


def measure_playing(pictures: list[Path], seconds: float, size: tuple[int, int]) -> dict[str, Any]:
    """Play a video of real frames, with a label that moves on each second frame, and count what was shown.

    Parameters
    ----------
    pictures
        Real frames that the video pans over.
    seconds
        How long it plays, at most 15.
    size
        Width and height of its frames.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        path = folder / "op.mp4"
        write_segment(path, pictures, CLIP_S * RATE, GROUP, size)
        workspace = Workspace.open(folder / "project", folder / "registry")
        _write_labels(workspace, path)
        viewer, widget = open_window(workspace)
        viewer.window.resize(*WINDOW)
        driver = WindowDriver(viewer, widget, folder)
        driver.process_events(1.5)
        found = _play(driver, widget.dock, path, seconds)
        viewer.close()
    return {"size": size, "seconds": seconds} | found


def _write_labels(workspace: Workspace, path: Path) -> None:
    with VideoReader(path) as reader:
        model = workspace.registry.get_live_id(TASK) or ""
        labels = PredictedFrames.open(workspace.project.folder, reader, TASK, model)
        _, height, width, _ = reader.shape
        y, x = np.ogrid[:height, :width]
        for number in range(0, reader.index.n_frames, LABEL_EVERY):
            inside = (y - height / 2) ** 2 + (x - width / 5 - number) ** 2 < (height / 5) ** 2
            labels.write(number, inside.astype(np.uint8))
        labels.close()


def _play(driver: WindowDriver, dock: "Dock", path: Path, seconds: float) -> dict[str, Any]:
    dock.worklist.importer.read([path])
    desk = dock.video
    driver.wait_until("video", lambda: desk.shown is not None and not desk.shown.is_waiting, WAIT_S)
    dock.worklist.choose_task(TASK)
    driver.process_events(2)
    shown: list[int] = []
    desk.shown.shown.connect(shown.append)
    began, processor, thread = time.perf_counter(), time.process_time(), time.thread_time()
    desk.strip.play_toggled.emit()
    while time.perf_counter() - began < seconds:
        QApplication.processEvents()
        time.sleep(0.001)
    passed = time.perf_counter() - began
    desk.player.stop()
    n_shown = max(1, len(shown))
    return {
        "pictures_a_second": len(shown) / passed,
        "processor_ms": 1000 * (time.process_time() - processor) / n_shown,
        "window_thread_ms": 1000 * (time.thread_time() - thread) / n_shown,
    }
