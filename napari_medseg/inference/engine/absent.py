"""Stands in for the engine on a computer without torch and without a server: it says what to do."""

from collections.abc import Iterator
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.inference.engine.interface import EngineState
from napari_medseg.inference.events import PredictionEvent
from napari_medseg.window_requirements import explain_no_computing


class AbsentEngine:
    """A `PredictionEngine` that cannot predict; everything else of the window works."""

    state: EngineState = "stopped"
    device = ""
    devices: tuple[DeviceStatus, ...] = ()

    @property
    def cpu_reason(self) -> str:
        """Why it does not predict."""
        return f"{explain_no_computing('predict')}."

    def use_device(self, name: str) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def cancel(self) -> None:
        """Do nothing."""

    def cancel_gracefully(self) -> None:
        """Do nothing."""

    def predict(
        self,
        image: Image,
        version_folder: Path,
        *,
        with_uncertainty_map: bool = False,
        roi_folder: Path | None = None,
        probabilities_file: Path | None = None,
    ) -> Iterator[PredictionEvent]:
        """Raise `MedSegError` that says what to do."""
        raise MedSegError(self.cpu_reason)
