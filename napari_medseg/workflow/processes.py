"""The process of a training run: started apart from the window, found again after a restart."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from napari_medseg.core.durable import write_text

LOG_FILE = "log.txt"
PROCESS_FILE = "process.json"
NICENESS = 10
N_LOG_LINES = 5


def start_detached(command: Sequence[str], run_dir: Path) -> subprocess.Popen[bytes]:
    """Start a command that outlives this process, at low priority, with its output in `log.txt`.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    with (run_dir / LOG_FILE).open("ab") as log:
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            flags |= subprocess.BELOW_NORMAL_PRIORITY_CLASS
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run_dir, creationflags=flags
            )
        else:
            nice = ["nice", "-n", str(NICENESS)] if shutil.which("nice") else []
            process = subprocess.Popen(
                [*nice, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run_dir, start_new_session=True
            )
    write_text(
        run_dir / PROCESS_FILE, json.dumps({"pid": process.pid, "started": psutil.Process(process.pid).create_time()})
    )
    return process


def is_alive(run_dir: Path, child: subprocess.Popen[bytes] | None) -> bool:
    """Whether the process of a run still works, be it our child or that of a window of earlier."""
    if child is not None:
        return child.poll() is None
    path = run_dir / PROCESS_FILE
    if not path.exists():
        return False
    known = json.loads(path.read_text(encoding="utf-8"))
    try:
        process = psutil.Process(known["pid"])
        # The number may have been given to another process since.
        same = bool(abs(process.create_time() - known["started"]) < 1.0)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def last_words(run_dir: Path) -> str:
    """Return the last lines of a run's log, for a message."""
    path = run_dir / LOG_FILE
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-N_LOG_LINES:]) or "its log is empty"
