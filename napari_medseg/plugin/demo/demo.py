"""The complete workflow on bundled real data: interactive with a display, or as a script that saves screenshots."""

import logging
import shutil
import sys
import tempfile
from pathlib import Path

import napari

from napari_medseg.plugin.demo.demo_script import run_demo_script
from napari_medseg.plugin.demo.window_driver import WindowDriver
from napari_medseg.plugin.main_widget import MedSegWidget
from napari_medseg.workflow.workspace import Workspace

WINDOW_SIZE = (1280, 720)
CT_ONLY_MODEL = "lungs-ct@1"
FOLDER_MARKER_FILE = ".medseg-demo"


def show_demo() -> None:
    """Open napari with the MedSeg dock and a chest CT of the samples; blocks until the window is closed.

    The project is temporary, so that the demo does not change the user's projects.
    """
    with tempfile.TemporaryDirectory(prefix="medseg-demo-") as folder:
        workspace = Workspace.open(Path(folder) / "project", Path(folder) / "registry")
        viewer, _ = open_window(workspace)
        viewer.open_sample("napari-medseg", "ct_slice")
        napari.run()
        workspace.close()


def run_scripted_demo(folder: Path) -> list[Path]:
    """Run the complete workflow automatically in the window; return the files written to `folder`."""
    if folder.exists() and any(folder.iterdir()) and not (folder / FOLDER_MARKER_FILE).exists():
        folder = folder / "medseg-demo"  # never delete files of the user
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / FOLDER_MARKER_FILE).touch()
    workspace = Workspace.open(folder / "project", folder / "registry")
    workspace.registry.promote(
        CT_ONLY_MODEL, "the demo starts with a model without X-rays, so that retraining can improve it"
    )
    viewer, widget = open_window(workspace)
    stage = WindowDriver(viewer, widget, folder)
    try:
        run_demo_script(stage)
    finally:
        viewer.close()
        workspace.close()
    return stage.files


def open_window(workspace: Workspace) -> tuple[napari.Viewer, MedSegWidget]:
    """Open a napari window with the dock on the right, as the Plugins menu does."""
    viewer = napari.Viewer(title="napari-medseg")
    viewer.window.resize(*WINDOW_SIZE)
    widget = MedSegWidget(viewer, workspace)
    viewer.window.add_dock_widget(widget, name="MedSeg", area="right")
    return viewer, widget


def run_demo(folder: Path | None) -> None:
    """Show the interactive demo if `folder` is `None`; otherwise run the script there and print its file paths."""
    logging.basicConfig(level=logging.WARNING)
    if folder is None:
        show_demo()
        return
    for path in run_scripted_demo(folder):
        sys.stdout.write(f"{path}\n")
