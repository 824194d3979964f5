"""What a workspace asks of an engine, whether it is a process of this computer or stands in for one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.inference.events import PredictionEvent

EngineState = Literal["starting", "ready", "busy", "crashed", "stopped"]


class PredictionCancelled(MedSegError):
    """The prediction was cancelled by the user."""


class EngineUnavailable(MedSegError):
    """The engine cannot serve now, whatever the image and the model: it crashed, or has too little memory."""


class PredictionEngine(Protocol):
    """Interface of an engine for a workspace; `Engine` implements it."""

    @property
    def state(self) -> EngineState:
        """Current state."""

    @property
    def device(self) -> str:
        """Name of its device; empty until it was ready once."""

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        """Devices that can be chosen; empty until it was ready once."""

    @property
    def cpu_reason(self) -> str:
        """Why it uses the CPU although it was to use the fastest or another device; else empty."""

    def use_device(self, name: str) -> None:
        """Predict on a device, such as ``cuda:1``; empty for the fastest one."""

    def start(self) -> None:
        """Start it in the background if it is not running."""

    def close(self) -> None:
        """End it; a running prediction is cancelled."""

    def cancel(self) -> None:
        """Cancel all predictions at once."""

    def cancel_gracefully(self) -> None:
        """Cancel all predictions without killing the engine, if possible."""

    def predict(
        self,
        image: Image,
        version_folder: Path,
        *,
        with_uncertainty_map: bool = False,
        roi_folder: Path | None = None,
        probabilities_file: Path | None = None,
    ) -> Iterator[PredictionEvent]:
        """Yield progress, notices and parts of a series, and last the `PredictionResult`.

        Its arrays are of `image.spatial_shape`.

        The probabilities are written to `probabilities_file`, if it is given and can be written.
        """
