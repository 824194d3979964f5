"""A process that predicts a slide is killed (SIGKILL), again and again; nothing is lost, and nothing is there twice."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from whole_slide_phantoms import draw_discs, find_discs, plan_small, read_nuclei_card, write_slide

from napari_medseg.core.image import Image
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow.whole_slide.prediction import begin_prediction, continue_prediction

SIDE, N_DISCS = 700, 250
PROGRAM = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from whole_slide_phantoms import DiscModel
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow.whole_slide.prediction import continue_prediction, predict_chunks
slide = open_slide(Path(sys.argv[1]))
with continue_prediction(Path(sys.argv[2])) as whole:
    for event in predict_chunks(whole, slide, DiscModel().predict):
        print(event.done, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_that_is_killed_again_and_again_ends_with_every_nucleus_once(tmp_path: Path) -> None:
    picture = draw_discs(SIDE, SIDE, N_DISCS)
    path, out = write_slide(tmp_path / "a.tif", picture), tmp_path / "out"
    slide = open_slide(path)
    begin_prediction(out, plan_small(slide, read_nuclei_card(), core_px=180)).close()
    slide.close()
    rng = np.random.default_rng(1)
    n_done, n_kills = 0, 0
    while n_done < 16:
        arguments = [sys.executable, "-c", PROGRAM, str(path), str(out), str(Path(__file__).parents[1]), *sys.path]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = int(process.stdout.readline())
        assert first >= n_done
        for line in process.stdout:
            n_done = int(line)
            if n_done >= first + 6:
                time.sleep(float(rng.uniform(0, 0.02)))
                process.send_signal(signal.SIGKILL)
                n_kills += 1
                break
        process.stdout.close()
        process.wait()
    assert n_kills >= 2
    with continue_prediction(out) as whole:
        labels = whole.labels.read((slice(0, SIDE), slice(0, SIDE)))
        assert whole.table.n_objects == N_DISCS
    expected = find_discs(Image(picture, "YXC"))
    assert np.array_equal(labels > 0, expected > 0)
    assert np.unique(np.stack([labels[labels > 0], expected[expected > 0]]), axis=1).shape[1] == N_DISCS
