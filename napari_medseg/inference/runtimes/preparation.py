"""The model of OpenVINO for one version: read from the cache, or converted in a thread while torch goes on."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.compiled_network import FAILURES, CompiledNetwork, fuse_conv_bn
from napari_medseg.inference.runtimes.openvino_model import ModelFolder, convert_network
from napari_medseg.inference.runtimes.openvino_network import OpenVinoNetwork

if TYPE_CHECKING:
    import openvino


WAIT_S = 0.02


class OpenVinoPreparation:
    """Makes the model once, at the first wish.

    Parameters
    ----------
    network, card
        The version. The network is copied, not changed.
    with_features
        As in `CompiledNetwork`.
    folder
        Keeps converted models.
    """

    def __init__(self, network: nn.Module, card: ModelCard, with_features: bool, folder: Path) -> None:
        self._network, self._card, self._with_features = network, card, with_features
        self._models = ModelFolder(folder)
        self._model: openvino.Model | None = None
        self._problem = ""
        self._thread: threading.Thread | None = None

    def is_done(self) -> bool:
        """Whether the model is ready or cannot be made; starts to make it in a thread."""
        if self._model is not None or self._problem:
            return True
        if self._thread is None:
            # No daemon: if Python ends while OpenVINO computes, the process aborts. The next start has the model.
            self._thread = threading.Thread(target=self._prepare, name="conversion to OpenVINO")
            self._thread.start()
        return not self._thread.is_alive()

    def wait(self, raise_if_stopped: Callable[[], None]) -> None:
        """Wait until it is done, in short steps between which `raise_if_stopped` may end it; the thread goes on."""
        while not self.is_done():
            raise_if_stopped()
            if self._thread is not None:
                self._thread.join(WAIT_S)

    def open(self, torch_network: CompiledNetwork) -> OpenVinoNetwork:
        """Return the network of OpenVINO; waits for the model. Raises `MedSegError` if it cannot be made."""
        if self._thread is not None:
            self._thread.join()
        if self._model is None and not self._problem:
            self._prepare()
        if self._model is None:
            raise MedSegError(self._problem)
        return OpenVinoNetwork(self._model, torch_network)

    def give_up(self, reason: str) -> None:
        """Say at each later wish that the model cannot be used."""
        self._problem, self._model = reason, None

    def _prepare(self) -> None:
        """Read the converted model, or convert the network and keep it."""
        sha256 = self._card.weights_sha256
        name = f"{sha256} {self._card.architecture.model_dump_json()}"
        try:
            model = self._models.read(name, self._with_features) if sha256 else None
            if model is None:
                twin = fuse_conv_bn(self._network).float().cpu()
                model = convert_network(twin, self._card.architecture.in_channels, self._with_features)
                if sha256:
                    self._models.write(model, name, self._with_features)
            self._model = model
        except (MedSegError, *FAILURES, ImportError) as error:
            self._problem = get_reason(error)
