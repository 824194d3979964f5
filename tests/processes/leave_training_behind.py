"""Not a test of the suite: `test_leftover_processes.py` runs it in a pytest of its own."""

import os
import sys
import time
from pathlib import Path

from napari_medseg.workflow.run_control import is_alive, start_detached


def test_leave_a_detached_process_behind() -> None:
    folder = Path(os.environ["LEFTOVER_FOLDER"])
    start_detached([sys.executable, "-c", "import time; time.sleep(600)"], folder)
    assert is_alive(folder, None)
    while (folder / "stay").exists():
        time.sleep(0.1)
