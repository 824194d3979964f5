"""Opens a slide, moves over it and zooms, here and with napari's own reader, and compares memory and times.

    xvfb-run python benchmarks/slides.py --pictures ../shared/data/nuclei/monuseg/images --sides 10000 20000 100000

Each measurement runs in a process of its own. The slide is real tissue in a BigTIFF whose tiles are shared, see
`large_slide.py`. napari's own reader decodes all of level 0, so it is not run where that would not fit into memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

N_STEPS = 40
STEP_S = 0.03
"""Between two steps, as of a person who drags."""
TIMEOUT_S = 900


def main() -> None:
    """Make slides of several sizes, measure each in both ways, and print a table."""
    options = _parse_options()
    if options.measure:
        print(json.dumps(measure(options.measure, Path(options.slide))))
        return
    from large_slide import make_large_slide
    from PIL import Image as Picture

    files = sorted(Path(options.pictures).iterdir())[:12]
    pictures = [np.asarray(Picture.open(file).convert("RGB")) for file in files]
    print("| slide | reader | first overview s (processor s) | peak memory GB | pan p95, max ms | zoom p95, max ms |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            slide = make_large_slide(Path(folder, f"{side}.tif"), side, pictures)
            for reader in ("napari-medseg", "napari"):
                print(f"| {side:,} x {side:,} | {reader} | {_measure_apart(reader, slide, side)} |", flush=True)


def measure(reader: str, slide: Path) -> dict[str, float]:
    """Open a slide in a window, move and zoom; return seconds, bytes and milliseconds."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    app = QApplication.instance()

    def work_off(seconds: float) -> None:
        until = time.perf_counter() + seconds
        app.processEvents()
        while time.perf_counter() < until:
            time.sleep(0.002)
            app.processEvents()

    work_off(2.0)
    before = psutil.Process().memory_info().rss
    began, began_cpu = time.perf_counter(), time.process_time()
    if reader == "napari":
        viewer.open(str(slide), plugin="napari")
    else:
        from napari_medseg.core.slides.blocks import SlideBlocks
        from napari_medseg.plugin.slides.slide_layer import SlideLayer

        shown = SlideLayer(viewer, SlideBlocks(slide))
        shown.show()
        viewer.reset_view()
    app.processEvents()
    viewer.screenshot(flash=False)  # until it is drawn
    opened, opened_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    work_off(1.0)
    viewer.scene.camera.zoom *= 40
    work_off(1.0)

    def pan(_step: int) -> None:
        y, x = viewer.scene.camera.center[-2:]
        viewer.scene.camera.center = (0, y + 40 / viewer.scene.camera.zoom, x + 60 / viewer.scene.camera.zoom)

    def zoom(step: int) -> None:
        viewer.scene.camera.zoom *= 1 / 1.12 if step < N_STEPS // 2 else 1.12

    pans, zooms = (_time_steps(do, app.processEvents, work_off) for do in (pan, zoom))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    viewer.close()
    return {
        "opened_s": opened,
        "opened_cpu_s": opened_cpu,
        "before_bytes": before,
        "peak_bytes": peak,
        "pan_p95_ms": pans[0],
        "pan_max_ms": pans[1],
        "zoom_p95_ms": zooms[0],
        "zoom_max_ms": zooms[1],
    }


def _time_steps(
    do: Callable[[int], None], draw: Callable[[], None], work_off: Callable[[float], None]
) -> tuple[float, float]:
    """Return how long the window was busy for a step, in ms: 95 % of the steps, and the longest."""
    took = []
    for step in range(N_STEPS):
        began = time.perf_counter()
        do(step)
        draw()
        took.append((time.perf_counter() - began) * 1000)
        work_off(STEP_S)
    return float(np.percentile(took, 95)), max(took)


def _measure_apart(reader: str, slide: Path, side: int) -> str:
    raw = side * side * 3
    if reader == "napari" and raw * 1.5 > psutil.virtual_memory().available:
        return f"not run: it decodes {raw / 1e9:.1f} GB | | |"
    command = [sys.executable, __file__, "--measure", reader, "--slide", str(slide)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        return f"ended with {done.returncode} | | |"
    found = json.loads(done.stdout.strip().splitlines()[-1])
    opened = f"{found['opened_s']:.1f} ({found['opened_cpu_s']:.1f})"
    memory = f"{found['peak_bytes'] / 1e9:.2f} (before: {found['before_bytes'] / 1e9:.2f})"
    pauses = [f"{found[f'{what}_p95_ms']:.0f}, {found[f'{what}_max_ms']:.0f}" for what in ("pan", "zoom")]
    return " | ".join([opened, memory, *pauses])


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", default="../shared/data/nuclei/monuseg/images", help="folder of RGB pictures")
    parser.add_argument("--sides", type=int, nargs="+", default=[10_000, 20_000, 100_000], help="height and width")
    parser.add_argument("--measure", choices=("napari-medseg", "napari"), help="only this, in this process")
    parser.add_argument("--slide", help="with --measure: the slide")
    return parser.parse_args()


if __name__ == "__main__":
    main()
