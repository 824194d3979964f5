"""Which packages compute, and which a window needs that leaves computing to a server.

`python -m napari_medseg.window_requirements` prints the latter, one a line as pip reads them. It is for a computer on
which `pip install --no-deps napari-medseg` was run, so nothing but the standard library is imported here.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable, Iterator

COMPUTING_MODULES = (
    *("torch", "torchvision", "segmentation_models_pytorch", "monai", "kornia", "timm", "huggingface_hub"),
)
"""Modules that predict and train; their distributions have the same names, but for dashes."""
PROGRAM = "napari-medseg"
WINDOW_EXTRAS = ("all", "remote")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRAS = re.compile(r"\[([^]]*)\]")
_EXTRA_MARKER = re.compile(r"""(?:\s*and\s*)?extra\s*==\s*["']([^"']+)["']""")


def list_window_requirements(requirements: Iterable[str], extras: Iterable[str] = WINDOW_EXTRAS) -> list[str]:
    """Return what a window needs without the packages that compute, as pip reads it.

    Parameters
    ----------
    requirements
        All requirements of the program, as `importlib.metadata.requires` returns them.
    extras
        Extras that are wanted, too.
    """
    every = list(requirements)
    wanted = dict.fromkeys(_choose(every, ["", *extras]))
    return sorted(line for line in wanted if _normalise(line) not in map(_normalise, COMPUTING_MODULES))


def can_compute() -> bool:
    """Whether this computer can predict and train: torch is installed. It is not imported."""
    return _is_installed("torch")


def explain_no_computing(action: str) -> str:
    """Return what to do on a computer without torch; `action` is what was asked for, such as ``predict``."""
    return (
        f"torch is not installed here, so this computer does not {action}. Choose a server (Remote in the menu of the "
        f"device, or --device remote), or install it: pip install {PROGRAM}"
    )


def _choose(requirements: list[str], extras: list[str]) -> Iterator[str]:
    """Yield the requirements of extras without the marker that names the extra; the program itself is looked into."""
    for requirement in requirements:
        found = _EXTRA_MARKER.search(requirement)
        if (found[1] if found else "") not in extras:
            continue
        line = _EXTRA_MARKER.sub("", requirement).strip().rstrip(";").strip()
        if _normalise(line) == PROGRAM:
            inner = _EXTRAS.search(line)
            yield from _choose(requirements, [name.strip() for name in inner[1].split(",")] if inner else [])
        else:
            yield line


def _normalise(requirement: str) -> str:
    found = _NAME.match(requirement)
    return (found[0] if found else "").lower().replace("_", "-")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # something forbids it
        return False


if __name__ == "__main__":
    print("\n".join(list_window_requirements(importlib.metadata.requires(PROGRAM) or [])))  # noqa: T201
