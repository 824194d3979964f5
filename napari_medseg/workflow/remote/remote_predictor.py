"""A predictor for commands that asks a server: ``--device remote``, or the address of a server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, ModelCard, read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.inference.events import PredictionEvent, PredictionOptions, get_result
from napari_medseg.inference.remote.address import parse_address
from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.connecting import require_websockets
from napari_medseg.workflow.remote.server_link import get_address
from napari_medseg.workflow.remote.server_settings import ServerSettings, read_server, read_token_variable
from napari_medseg.workflow.remote.untold import tell_in_background

REMOTE = "remote"
"""As a device: the server that was chosen in the window."""


class RemotePredictor:
    """Predicts like `inference.predictor.Predictor`, on a server and without torch. It does not fall back.

    Parameters
    ----------
    folder, roi_folder
        The version, and the one that finds its region of interest.
    settings
        The server.

    Raises
    ------
    MedSegError
        If the address cannot be used, or websockets is missing.
    """

    def __init__(self, folder: Path, roi_folder: Path | None, settings: ServerSettings) -> None:
        require_websockets()
        self.card: ModelCard = read_card(folder / CARD_FILE)
        self.device_title = f"the server {settings.name}"
        self._folder = folder
        self._roi_folder = roi_folder
        self._engine = RemoteEngine(get_address(settings), settings.token.get_secret_value())

    def predict(self, image: Image, options: PredictionOptions | None = None) -> Iterator[PredictionEvent]:
        """As `Predictor.predict`; raises `MedSegError` if the server cannot be asked."""
        options = options or PredictionOptions()
        return self._engine.predict(
            image,
            self._folder,
            with_uncertainty_map=options.with_uncertainty_map,
            roi_folder=self._roi_folder,
            probabilities_file=options.probabilities_file,
        )

    def predict_labels(self, image: Image, tell: Callable[[str], object]) -> NDArray[np.uint8 | np.uint16 | np.uint32]:
        """As `Predictor.predict_labels`."""
        return get_result(self.predict(image), tell).labels


def is_server(device: str | None) -> bool:
    """Whether a device is a server: ``remote``, or an address that begins with ``ws://`` or ``wss://``."""
    return device is not None and (device == REMOTE or device.startswith(("ws://", "wss://")))


def load_remote_predictor(models: ModelRegistry, model: str, device: str) -> RemotePredictor:
    """Return the predictor of a version on a server; errors as `RemotePredictor`, and if there is no token."""
    kept = read_server(models.user_dir)
    if device == REMOTE and kept is None:
        raise MedSegError(
            "no server was chosen. Choose one in the window (Remote in the menu of the device), or name it."
        )
    settings = kept if device == REMOTE or (kept is not None and _is_at(kept, device)) else None
    if device != REMOTE and (token := read_token_variable()):  # the variable belongs to the address beside it
        settings = (settings or ServerSettings(address=device)).model_copy(update={"token": SecretStr(token)})
    if settings is None or not settings.token.get_secret_value():
        raise MedSegError(f"a token is needed for {device}. Put it into the variable MEDSEG_TOKEN.")
    tell_in_background(models.user_dir, settings)
    card = models.get_card(model)
    return RemotePredictor(models.get_folder(model), models.find_roi_folder(card), settings)


def _is_at(settings: ServerSettings, device: str) -> bool:
    """Whether a server is the one at an address, however that is written."""
    return get_address(settings).uri == parse_address(device).uri
