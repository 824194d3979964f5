"""Chooses runtime, precision and batch of one version on one device, and remembers the choice.

A version that is used little is not measured: a runtime is prepared only after as much work as that costs, and a
measurement takes a second. One image is predicted in one way; the next one may be predicted in another, except where
images belong together (`TuningSettings.is_constant`). Where a person asked for torch, precision is that of the card, so
that labels do not depend on a measurement.
"""

import logging
import platform
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.compiled_network import FAILURES, CompiledNetwork
from napari_medseg.inference.device import describe_device, free_cached_memory
from napari_medseg.inference.device_status import query_nvidia_driver
from napari_medseg.inference.preprocess import get_planes_shape, prepare
from napari_medseg.inference.runtimes.openvino_network import PlaneNetwork, accepts
from napari_medseg.inference.runtimes.preparation import OpenVinoPreparation
from napari_medseg.inference.runtimes.runtime_names import (
    Runtime,
    RuntimeWish,
    get_openvino_version,
    get_program_version,
    has_openvino,
)
from napari_medseg.inference.tuning.measurement import (
    CLEAR_GAIN,
    Measurement,
    MeasurementStopped,
    crop_sample,
    enlarge_sample,
)
from napari_medseg.inference.tuning.settings import CHOICES_FOLDER, MODELS_FOLDER, TuningSettings
from napari_medseg.inference.tuning.trials import OTHERWISE, choose_precision, measure_batches, try_openvino
from napari_medseg.inference.tuning.tuned_choice import TunedChoice, TuningCache, TuningKey

logger = logging.getLogger(__name__)

LONGEST_COMPARED_PX = 320
"""Side of the part of a plane on which runtimes are compared."""
LONGEST_SAMPLE_PX = 768
"""Side of the planes that batches are measured with; at most a tile."""
MAX_SAMPLED_PLANES = 8
"""Of a volume, where the fastest way is measured before it is predicted."""
MIDDLE = (0.5, 0.5)
"""Of a plane, in parts of its height and width."""


class Tuner:
    """The choice for one network on one device.

    Parameters
    ----------
    network, card
        The version. The network is not changed.
    device
        Where it computes.
    settings
        See `TuningSettings`.
    with_features
        As in `CompiledNetwork`.

    Attributes
    ----------
    choice
        What was chosen, in this session or before; `None` if nothing was measured.
    """

    def __init__(
        self, network: nn.Module, card: ModelCard, device: torch.device, settings: TuningSettings, with_features: bool
    ) -> None:
        self.settings = settings
        self._network, self._card, self._device, self._with_features = network, card, device, with_features
        self._openvino = OpenVinoPreparation(network, card, with_features, settings.folder / MODELS_FOLDER)
        self._cache = TuningCache(settings.folder / CHOICES_FOLDER)
        self._key = make_key(card, device, settings.wish)
        self._sample: NDArray[np.float32] | None = None
        self._foreground_px, self._focus = -1, MIDDLE
        self._worked_s = 0.0
        self._exact: CompiledNetwork | None = None
        self._is_constant = settings.is_constant and device.type == "cpu"  # on a GPU only batches are measured
        self._has_begun = False
        self.choice: TunedChoice | None = self._cache.read(self._key)

    @property
    def must_decide_first(self) -> bool:
        """Whether nothing was measured, and it must be before the next image.

        Either a person asked for OpenVINO, and it is not compared with torch yet, or no image was predicted of those
        that are predicted in one way.
        """
        if self._is_constant:
            return self.choice is None and not self._has_begun
        return self.settings.wish == "openvino" and self.choice is None and not self._explain_torch()

    @property
    def is_due(self) -> bool:
        """Whether enough was predicted to measure, and nothing was; a runtime is prepared meanwhile."""
        is_worth_it = self._worked_s >= self.settings.work_before_s or self._device.type != "cpu"
        if self._is_constant or self.choice is not None or self._sample is None or not is_worth_it:
            return False
        return bool(self._explain_torch()) or self._openvino.is_done()

    def observe(self, planes: NDArray[np.float32], logits: Tensor, seconds: float) -> None:
        """Note a pass of planes (n, c, h, w) that took so long; the plane with most foreground is the sample.

        On background alone, a runtime that lost all lesions would be equal to torch.
        """
        self._worked_s, self._has_begun = self._worked_s + seconds, True
        if self.choice is not None or not accepts(planes.shape[-2], planes.shape[-1]):
            return
        if self._explain_torch():  # no labels are compared
            self._sample = planes[:1].copy() if self._sample is None else self._sample
            return
        labels = logits.argmax(dim=1) != 0
        counts = labels.flatten(1).sum(dim=1)
        index = int(counts.argmax())
        if int(counts[index]) > self._foreground_px:
            self._sample, self._foreground_px = planes[index : index + 1].copy(), int(counts[index])
            self._focus = _find_middle(labels[index])

    def take_sample(self, image: Image, torch_network: CompiledNetwork) -> NDArray[np.float32] | None:
        """Return the plane (1, c, h, w) in the middle of an image that was not predicted yet.

        Where all images are predicted in one way, some more of its planes are observed first, to find labels, also if
        OpenVINO takes no such planes, but those of other workers. `None` if a pass failed: nothing is measured then.
        """
        n_planes = get_planes_shape(image)[0]
        if self._is_constant:
            try:
                for index in range(0, n_planes, -(-n_planes // MAX_SAMPLED_PLANES)):
                    planes = crop_sample(prepare(image, self._card, index, index + 1).planes, LONGEST_SAMPLE_PX)
                    planes = enlarge_sample(planes)
                    self.observe(planes, torch_network.compute_logits(planes), 0.0)
            except FAILURES as error:  # the prediction meets it, too, and goes on in tiles
                logger.warning("%s is not measured: %s", self._card.id, get_reason(error))
                self._sample, self._has_begun = None, True
                return None
            torch_network.take_features()
        middle = n_planes // 2  # the first one often shows nothing
        return prepare(image, self._card, middle, middle + 1).planes

    def make_network(self, torch_network: CompiledNetwork) -> PlaneNetwork:
        """Return the network of the choice; the given one if nothing else was chosen or can be opened."""
        if self.choice is None:
            return torch_network
        exact = self._make_exact(torch_network) if self.choice.precision == "fp32" else torch_network
        if self.choice.runtime == "torch" or self._explain_torch():
            return exact
        try:
            return self._openvino.open(exact)
        except (MedSegError, *FAILURES) as error:
            self.give_up(get_reason(error))
            return torch_network

    def give_up(self, reason: str) -> None:
        """Stay with torch as usual until the program ends, because OpenVINO or the measurement failed."""
        logger.warning("%s is computed by torch as usual: %s", self._card.id, reason)
        self._openvino.give_up(reason)
        self.choice = TunedChoice(key=self._key, model=self._card.id, reason=reason)

    def decide(
        self,
        torch_network: CompiledNetwork,
        usual_batch_px: int,
        sample: NDArray[np.float32] | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Measure, and set `choice`; return what a person should know, else an empty text.

        A measurement that is stopped is none: there is no `choice`, and it begins again another time.

        Parameters
        ----------
        torch_network
            What computes without a choice.
        usual_batch_px
            Pixels of a batch without a choice.
        sample
            Planes (n, c, h, w) of an image of this version, if none was observed yet. Where OpenVINO does not take
            them, nothing is measured: torch would be compared with itself.
        is_stopped
            Asked between passes; with `True` the measurement ends.
        """
        sample = sample[:1] if sample is not None and self._sample is None else self._sample
        if sample is None or not (self._explain_torch() or accepts(sample.shape[-2], sample.shape[-1])):
            return ""
        try:
            measured = self._measure(torch_network, usual_batch_px, sample, is_stopped)
            others = self._cache.read(self._key) if self.choice is None else None  # another process was faster
            self.choice = others or measured
        except MeasurementStopped:
            return ""
        except FAILURES as error:  # the next prediction meets it, too, and knows what to do
            self.give_up(get_reason(error))
            return ""
        finally:
            free_cached_memory(self._device)  # nothing may follow for hours, and a training may need it
        self._sample = None
        if self.choice.precision != "fp32":
            self._exact = None
        if self._card.weights_sha256 and self.choice is measured:
            self._cache.write(self.choice)
        logger.info("%s on %s: %s", self._card.id, self._key.device, self.choice)
        return f"{self._card.id} stays with torch: {self.choice.reason}." if self._must_tell(self.choice) else ""

    def _measure(
        self,
        torch_network: CompiledNetwork,
        usual_batch_px: int,
        sample: NDArray[np.float32],
        is_stopped: Callable[[], bool],
    ) -> TunedChoice:
        focus = self._focus if sample is self._sample else MIDDLE
        whole, part = crop_sample(sample, LONGEST_SAMPLE_PX), crop_sample(sample, LONGEST_COMPARED_PX, focus)
        measured = Measurement(self._device, self.settings.budget_s, is_stopped)
        make_exact = None if self.settings.wish == "torch" else lambda: self._make_exact(torch_network)
        chosen, precision = choose_precision(measured, torch_network, make_exact, part)
        network: PlaneNetwork = chosen
        runtime: Runtime = "torch"
        agreement, reason = None, self._explain_torch()
        if not reason:
            self._openvino.wait(measured.raise_if_stopped)
            exact = self._make_exact(torch_network)
            found, agreement, reason = try_openvino(measured, exact, self._openvino.open, part)
            gain = measured.get_gain("openvino fp32", f"torch {precision}")
            reason = reason or f"OpenVINO is {gain:.2f} times as fast as torch in {precision}"
            if found is not None and (gain > 1 + CLEAR_GAIN or self.settings.wish == "openvino"):
                network, runtime, precision = found, "openvino", "fp32"
        batch_px = measure_batches(measured, network, f"{runtime} {precision}", whole, usual_batch_px)
        return TunedChoice(
            key=self._key,
            model=self._card.id,
            runtime=runtime,
            precision=precision,
            batch_px=batch_px,
            agreement=agreement,
            reason=reason,
            trials=tuple(measured.trials),
        )

    def _explain_torch(self) -> str:
        """Return why OpenVINO is not in question; empty if it is."""
        if self._device.type != "cpu":
            return "OpenVINO computes on the CPU only"
        if self.settings.wish == "torch":
            return "torch was asked for"
        return "" if has_openvino() else "OpenVINO is not installed"

    def _must_tell(self, choice: TunedChoice) -> bool:
        """Whether a person should know that OpenVINO is not used: it computes other labels, or it was asked for."""
        differs = choice.reason.startswith(OTHERWISE)
        return choice.runtime == "torch" and (differs or self.settings.wish == "openvino")

    def _make_exact(self, torch_network: CompiledNetwork) -> CompiledNetwork:
        """Return the network in fp32."""
        if torch_network.dtype is None:
            return torch_network
        if self._exact is None:
            self._exact = CompiledNetwork(self._network, self._device, None, self._with_features)
        return self._exact


def _find_middle(labels: Tensor) -> tuple[float, float]:
    """Return the centre of mass of a mask (h, w) in parts of its sides; the middle of an empty one."""
    found = labels.nonzero().float()
    if len(found) == 0:
        return MIDDLE
    y, x = (float(mean) / side for mean, side in zip(found.mean(dim=0), labels.shape, strict=True))
    return y, x


def make_key(card: ModelCard, device: torch.device, wish: RuntimeWish) -> TuningKey:
    """Return what the choice for a version on a device depends on."""
    drivers = sorted({gpu.driver for gpu in query_nvidia_driver()}) if device.type == "cuda" else []
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda or "", "openvino": get_openvino_version()}
    return TuningKey(
        wish=wish,
        device=_name_processor(device),
        driver=", ".join(drivers),
        libraries=", ".join(f"{name} {version}" for name, version in versions.items() if version),
        program=get_program_version(),
        weights_sha256=card.weights_sha256,
        architecture=card.architecture.model_dump_json(),
        n_threads=torch.get_num_threads() if device.type == "cpu" else 0,
    )


def _name_processor(device: torch.device) -> str:
    """Return the name of a device; of a CPU its instructions, because computers may share a home folder."""
    name = describe_device(device)
    return f"{name} ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})" if device.type == "cpu" else name
