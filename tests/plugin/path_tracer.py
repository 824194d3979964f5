"""Which source files of the program an image passes through, in this process and in that of the engine.

A file is on the path if one of its functions is given pixels of the image, labels made of them or an object that holds
either, or returns them. What a panel does is not: it shows what happens, and no labels come of it.

As a script it is the engine process with its functions traced; see `write_traced_python`.
"""

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import napari_medseg

ROOT = Path(napari_medseg.__file__).parents[1]
PACKAGES = tuple(f"{ROOT / package}{'/'}" for package in ("napari_medseg", "training"))
PANELS = str(ROOT / "napari_medseg" / "plugin" / "panels")
IMPORTING = "<frozen importlib._bootstrap>"
MIN_PIXELS = 64 * 64
"""Smaller arrays are matrices and positions."""


@contextmanager
def trace_path(on_file: Callable[[str], None], is_on: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Call `on_file` once for each file on the path, relative to the repository, while `is_on()`.

    All threads that are started inside are traced, too.
    """
    found: set[str] = set()

    def report(frame: FrameType) -> None:
        found.add(frame.f_code.co_filename)
        on_file(Path(frame.f_code.co_filename).relative_to(ROOT).as_posix())

    def on_call(frame: FrameType, event: str, _: object) -> Callable[[FrameType, str, Any], Any] | None:
        path = frame.f_code.co_filename
        if event != "call" or path in found or not path.startswith(PACKAGES) or not is_on() or not _counts(frame):
            return None
        if any(holds_pixels(value) for value in _get_arguments(frame)):
            report(frame)
            return None
        frame.f_trace_lines = False
        return on_return

    def on_return(frame: FrameType, event: str, value: Any) -> Callable[[FrameType, str, Any], Any]:
        if event == "return" and frame.f_code.co_filename not in found and holds_pixels(value):
            report(frame)
        return on_return

    before = sys.gettrace()
    threading.settrace(on_call)
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]


def write_traced_python(folder: Path, began: Path, found: Path) -> Path:
    """Write an executable to start the engine with: it appends the files on the path to `found` once `began` exists."""
    script = folder / "traced_python"
    command = " ".join(f'"{part}"' for part in (sys.executable, "-P", __file__, began, found))
    script.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def holds_pixels(value: Any, depth: int = 2) -> bool:
    """Whether something is an array of pixels, or an object of ours or a list that holds one."""
    if isinstance(value, np.ndarray) or type(value).__name__ == "Tensor":
        return value.ndim >= 2 and int(np.prod(value.shape)) >= MIN_PIXELS
    if depth == 0:
        return False
    if isinstance(value, list | tuple):
        return any(holds_pixels(item, depth - 1) for item in value)
    if not type(value).__module__.startswith("napari_medseg"):
        return False
    return any(holds_pixels(item, depth - 1) for item in list(getattr(value, "__dict__", {}).values()))


def _counts(frame: FrameType) -> bool:
    """Whether it is a function, and neither an import nor a panel called it."""
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return False
    caller: FrameType | None = frame
    while caller is not None:
        if caller.f_code.co_filename == IMPORTING or caller.f_code.co_filename.startswith(PANELS):
            return False
        caller = caller.f_back
    return True


def _get_arguments(frame: FrameType) -> list[Any]:
    code, values = frame.f_code, frame.f_locals
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return [values[name] for name in names if name in values and name not in ("self", "cls")]


def _serve(began: Path, found: Path) -> None:
    from napari_medseg.inference.engine import server

    def append(path: str) -> None:
        with found.open("a", encoding="utf-8") as file:
            file.write(f"{path}\n")

    with trace_path(append, began.exists):
        server.main()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), Path(sys.argv[2]))
