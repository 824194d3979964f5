"""The runtimes by name, and whether OpenVINO is installed. No torch here, because the window uses it too."""

import importlib.metadata
import importlib.util
import logging
from typing import Literal, get_args

from napari_medseg.core.errors import MedSegError, look_up

logger = logging.getLogger(__name__)

Runtime = Literal["torch", "openvino"]
"""What computes."""

RuntimeWish = Literal["auto", "torch", "openvino"]
"""What a person asks for; ``auto`` is what was measured to be the fastest."""

INSTALL_OPENVINO = 'OpenVINO is not installed. Install it with: pip install "napari-medseg[openvino]"'


def parse_runtime(text: str) -> RuntimeWish:
    """Return the runtime that a person asks for.

    Raises
    ------
    MedSegError
        If the name is unknown, or OpenVINO is asked for and not installed.
    """
    wishes: dict[str, RuntimeWish] = {name: name for name in get_args(RuntimeWish)}
    wish = look_up(wishes, text.strip().lower(), "runtime")
    if wish == "openvino" and not has_openvino():
        raise MedSegError(INSTALL_OPENVINO)
    return wish


def choose_runtime(text: str) -> RuntimeWish:
    """Return the runtime that a person asked for earlier, or ``auto`` if it is not there any more."""
    try:
        return parse_runtime(text)
    except MedSegError as error:
        logger.warning("the runtime is chosen by measurement: %s", error)
        return "auto"


def has_openvino() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def get_openvino_version() -> str:
    """Return the version of OpenVINO, such as ``2026.4.1``; empty if it is not installed."""
    return _get_version("openvino")


def get_program_version() -> str:
    """Return the version of this program; empty if it is not installed as a package."""
    return _get_version("napari-medseg")


def _get_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
