"""Photographs each state and form of the window on a screen, in both themes, and lists the texts that are cut.

xvfb-run -a -s "-screen 0 3840x2160x24" python benchmarks/window_pictures.py OUT
QT_SCALE_FACTOR=2 xvfb-run -a -s "-screen 0 3840x2160x24" python benchmarks/window_pictures.py OUT
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from driven_day import find_cut_texts
from real_hands import RealHands

from napari_medseg.plugin.demo.demo import open_window
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.plugin.widgets.notifications import show_problem, show_result
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari_medseg.plugin.main_widget import MedSegWidget

State = tuple[str, Callable[[], object]]


def main() -> None:
    """Open the window, show each state, and save its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--window", help="size of the window in pixels, such as 2400x1400; else that of the screen")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace.open(Path(name) / "ward 7", Path(name) / "registry")
        viewer, widget = open_window(workspace)
        hands = RealHands(viewer, options.out)
        if options.window:
            hands.fit_window(*map(int, options.window.split("x")), viewer.theme)
        print(f"scale {hands.scale}, window {hands.window.width()} x {hands.window.height()}, dock {widget.width()} px")
        for state, show in list_states(widget, hands):
            show()
            hands.wait(0.6)
            for theme in ("dark", "light"):
                viewer.theme = theme
                hands.take_picture(f"{state}-{theme}")
                for top in (widget, *hands.list_dialogs()):
                    for line in find_cut_texts(top):
                        print(f"CUT {state} {theme}: {line}", flush=True)
            if state.startswith("form"):
                hands.close_dialogs()
        hands.close()
        viewer.close()
        workspace.close()


def list_states(widget: "MedSegWidget", hands: RealHands) -> Iterator[State]:
    """Return the states of the window, each with what brings it about."""
    dock = widget.dock

    def open_image(path: Path) -> None:
        before = dock.case_controller.current
        hands.drop([path])
        hands.wait_until(
            lambda: (now := dock.case_controller.current) is not before and now is not None and bool(now.edit_session),
            90,
        )
        hands.wait(1.5)
        hands.rest()

    yield "empty", lambda: None
    yield "nuclei", lambda: open_image(sorted((SAMPLES / "nuclei_dsb" / "images").glob("*.png"))[0])
    yield "lesions", lambda: (dock.worklist.choose_task("covid"), hands.wait(0.2))
    yield "series", lambda: (dock.worklist.choose_task("lungs"), open_image(SAMPLES / "ct_a0001" / "dicom"))
    yield "unsure", lambda: (hands.key("1"), hands.drag([(0.45, 0.5), (0.5, 0.52)]), hands.key("t", 2))
    yield "list", lambda: (hands.key("t"), hands.click(dock.case_panel._unfold))
    yield "list-window", lambda: hands.press("window", dock.case_panel.list_panel)
    yield "meter", lambda: (hands.press("into the dock"), hands.click(dock.case_panel._unfold), dock.meter.open())
    yield (
        "messages",
        lambda: (
            dock.meter._dock.hide(),
            show_problem(
                "right lung and left lung are exchanged. patient 1 cannot be accepted so: correct the labels."
            ),
            show_result("No better: 0.995 -> 0.995. The training for Lungs (CT, X-ray) ended.", [("Show", print)]),
        ),
    )
    yield "findings", lambda: (hands.key("a", 2), hands.key("a", 2), hands.press("Retrain", widget), hands.wait(2))
    forms = {
        "export": dock.show_export_form,
        "preferences": dock.show_preferences_form,
        "new-task": dock.show_new_task_form,
        "keys": dock.show_keys,
        "retrain": dock.retrain_panel.show_options_form,
        "disk": widget._on_project_window,
        "card": dock.case_panel.show_card,
        "hold-out": dock.hold_out.show_form,
        "readers": dock.meter.show_readers_form,
    }
    for name, show in forms.items():
        yield f"form-{name}", show


if __name__ == "__main__":
    main()
