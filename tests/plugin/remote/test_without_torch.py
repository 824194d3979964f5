"""A computer without torch corrects, accepts and exports, and says what it cannot do."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("window_without_torch.py")


def test_the_window_works_without_torch(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)], capture_output=True, text=True, env=env, timeout=200, check=False
    )
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said["dropped"] == "[]", "no error for what a person did not ask for"
    assert "torch is not installed here" in said["device"]
    assert "torch is not installed" in said["predict"]
    assert "Remote…" in said["menu"]
    assert (said["form"], said["accepted"]) == ("True", "1")
    assert "does not train. Choose a server" in said["retrain"]
    assert int(said["exported"]) > 0
    assert said["loaded"] == "[]"
