"""Runs in a process of its own: the day of a person whose computer has no torch, and no server. Prints what it saw.

`python window_without_torch.py FOLDER [PICTURES]`
"""

import sys
from collections.abc import Sequence
from pathlib import Path

BLOCKED = ("torch", "torchvision", "segmentation_models_pytorch", "monai", "kornia", "timm", "huggingface_hub")


class NotInstalled:
    """Finds none of the packages that compute, as a computer on which they are not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NotInstalled())

from qtpy.QtWidgets import QApplication  # noqa: E402

from napari_medseg.plugin.demo.demo import open_window  # noqa: E402
from napari_medseg.plugin.demo.window_driver import WindowDriver  # noqa: E402
from napari_medseg.plugin.remote.server_form import ServerForm  # noqa: E402

from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace  # noqa: E402

SAMPLES = PACKAGE_DIR / "samples"


def main(folder: Path, pictures: Path | None) -> None:
    ws = Workspace.open(folder / "project", folder / "registry")
    viewer, widget = open_window(ws)
    driver = WindowDriver(viewer, widget, folder)
    dock = widget.dock

    def see(name: str) -> None:
        driver.process_events(0.3)
        print(f"{name}: {list(widget.messages.texts)}")
        if pictures is not None:
            QApplication.primaryScreen().grabWindow(0).save(str(pictures / f"{name}.png"))

    driver.process_events(1.0)
    slices = [next(iter(sorted(SAMPLES.rglob("*.dcm"))))]
    driver.drop_files(slices)
    driver.wait_until("the case", lambda: dock.case_controller.current is not None)
    driver.process_events(1.0)
    see("1 dropped")
    print("device:", dock.case_panel._engine.text(), "|", dock.case_panel._engine.toolTip())
    driver.wait_until("labels", lambda: dock.case_controller.current.labels_layer is not None)
    layer = dock.case_controller.current.labels_layer
    layer.selected_label, layer.mode = 1, "paint"
    layer.paint((200.0, 150.0) if layer.ndim == 2 else (0.0, 200.0, 150.0), 1)
    driver.process_events(0.5)
    see("2 painted")
    dock.case_panel._engine._fill_menu()
    print("menu:", [action.text() for action in dock.case_panel._engine._menu.actions()])
    dock.case_panel._engine.show_form()
    driver.process_events(0.5)
    (form,) = dock.case_panel._engine.findChildren(ServerForm)
    see("3 remote form")
    form.close()
    dock.review_panel.accept()
    driver.process_events(2.0)
    see("4 accepted")
    dock.retrain_panel._retrain.click()
    driver.process_events(1.5)
    see("5 retrain")
    viewer.close()
    ws.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
