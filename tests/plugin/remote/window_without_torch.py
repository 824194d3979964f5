"""Runs in a process of its own: the day of a person whose computer has no torch, and no server. Prints what it saw.

`python window_without_torch.py FOLDER [PICTURES]`
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import QApplication

BLOCKED = ("torch", "torchvision", "segmentation_models_pytorch", "monai", "kornia", "timm", "huggingface_hub")


class NotInstalled:
    """Finds none of the packages that compute, as a computer on which they are not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(folder: Path, pictures: Path | None) -> None:
    from napari_medseg.plugin.demo.demo import open_window
    from napari_medseg.plugin.demo.window_driver import WindowDriver
    from napari_medseg.plugin.remote.server_form import ServerForm
    from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
    from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace

    ws = Workspace.open(folder / "project", folder / "registry")
    viewer, widget = open_window(ws)
    driver = WindowDriver(viewer, widget, folder)
    dock = widget.dock
    assert dock is not None
    device = dock.case_panel._engine

    def see(name: str, text: object) -> None:
        driver.process_events(0.3)
        say(f"{name}: {text}")
        if pictures is not None:
            QApplication.primaryScreen().grabWindow(0).save(str(pictures / f"{name}.png"))

    driver.drop_files([min((PACKAGE_DIR / "samples").rglob("*.dcm"))])
    driver.wait_until("the labels", lambda: getattr(dock.case_controller.current, "labels_layer", None) is not None, 60)
    driver.process_events(0.5)
    see("dropped", [text for text in widget.messages.texts if "now open with MedSeg" not in text])  # said once
    see("device", device.toolTip().replace("\n", " | "))
    device._fill_menu()
    see("menu", [action.text() for action in device._menu.actions()])
    see("predict", dock.case_panel._predict.toolTip())
    layer = dock.case_controller.current.labels_layer
    layer.selected_label, layer.mode = 1, "paint"
    layer.paint((200.0, 150.0) if layer.ndim == 2 else (0.0, 200.0, 150.0), 1)
    driver.process_events(0.5)
    device.show_form()
    driver.process_events(0.3)
    (form,) = device.findChildren(ServerForm)
    see("form", form.isVisible())
    form.close()
    dock.review_panel.accept()
    driver.wait_until("the correction", lambda: dock.worklist.case_list.counts.n_corrected == 1, 30)
    see("accepted", dock.worklist.case_list.counts.n_corrected)
    dock.retrain_panel._retrain.click()
    driver.process_events(1.0)
    see("retrain", list(widget.messages.texts))
    written = export_corrections(
        read_export_items(ws, list_accepted_rows(ws, "lungs")), folder / "exported", ".nii.gz", with_images=True
    )
    say(f"exported: {len(written)}")
    viewer.close()
    ws.close()
    say(f"loaded: {sorted(set(BLOCKED) & set(sys.modules))}")


if __name__ == "__main__":
    sys.meta_path.insert(0, NotInstalled())  # type: ignore[arg-type]
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
