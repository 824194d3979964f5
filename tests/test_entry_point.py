"""Ctrl+C while the program is loaded is one line and exit code 130, as later."""

import subprocess
import sys

INTERRUPTED_IMPORT = """
import builtins
real = builtins.__import__
def load(name, *rest, **more):
    if name == "napari_medseg.cli.main":
        raise KeyboardInterrupt
    return real(name, *rest, **more)
builtins.__import__ = load
from napari_medseg.__main__ import main
main()
"""


def test_ctrl_c_during_the_imports() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "medseg: interrupted\n")


def test_the_entry_point_loads_nothing_before_it_can_be_interrupted() -> None:
    code = "import napari_medseg.__main__, sys; print('numpy' in sys.modules, 'typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
