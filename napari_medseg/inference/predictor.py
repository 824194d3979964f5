"""Prediction of one image: whole planes in batches if they fit into memory, else blended tiles; on any device."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_medseg.core.decoded_size.freed_memory import keep_freed_memory
from napari_medseg.core.errors import MedSegError, get_reason, is_out_of_memory
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.accumulator import LogitsObserver, PartCutter, PredictionAccumulator
from napari_medseg.inference.batch_limits import (
    DEVICE_LIMITS,
    BatchLimits,
    count_planes_per_batch,
    get_longest_side,
    reduce_limits,
)
from napari_medseg.inference.compiled_network import FAILURES, compile_network
from napari_medseg.inference.device import CPU, can_fall_back, choose_device, describe_device, free_cached_memory
from napari_medseg.inference.events import (
    PredictionEvent,
    PredictionNotice,
    PredictionOptions,
    PredictionPart,
    PredictionProgress,
    PredictionTimer,
    get_result,
    get_roi,
    make_notice,
)
from napari_medseg.inference.finishing.computed_planes import ComputedPlanes
from napari_medseg.inference.out_of_domain.statistics import DomainStatistics, load_statistics
from napari_medseg.inference.preprocess import PreparedImage, get_planes_shape
from napari_medseg.inference.probabilities.recorder import record_probabilities
from napari_medseg.inference.roi import Box, compute_roi_box, crop_image
from napari_medseg.inference.runtimes.openvino_network import OpenVinoNetwork, PlaneNetwork, describe_runtime
from napari_medseg.inference.runtimes.plane_passes import PlanePasses
from napari_medseg.inference.runtimes.prepared_batches import PreparedBatches
from napari_medseg.inference.tuning.settings import TuningSettings
from napari_medseg.inference.tuning.tuned_choice import TunedChoice
from napari_medseg.inference.tuning.tuner import Tuner
from napari_medseg.networks import load_version

logger = logging.getLogger(__name__)

AnyLabels = NDArray[np.uint8 | np.uint16 | np.uint32]


class Predictor:
    """One model version on one device, with its own copy of the network.

    Parameters
    ----------
    network
        Maps (n, c, h, w) to logits (n, classes, h, w). It is copied, not changed.
    card
        Preprocessing, postprocessing and precision.
    device
        As in `choose_device`; `None` for the fastest one that computes.
    limits
        Batch and tile sizes; `None` for the defaults of the device.
    roi_predictor
        Predicts the region of interest (ROI) that the card names; `None` to predict in the whole image.
    domain
        Statistics of the training images; `None` if images that are unlike them are not to be recognised.

    Notes
    -----
    If a GPU fails or its memory is too small, the CPU goes on, with a notice; `device` changes, and `fell_back_at` is
    the `time.monotonic()` of that.
    """

    def __init__(
        self,
        network: nn.Module,
        card: ModelCard,
        device: str | torch.device | None = None,
        limits: BatchLimits | None = None,
        roi_predictor: "Predictor | None" = None,
        domain: DomainStatistics | None = None,
    ) -> None:
        self.card = card
        self.domain = domain
        self.roi_predictor = roi_predictor if card.field is not None else None
        self.device = choose_device(device)
        self.limits = limits or DEVICE_LIMITS[self.device.type]
        self.fell_back_at: float | None = None
        self._compile = partial(compile_network, network, precision=card.precision, with_features=domain is not None)
        self._make_tuner = partial(Tuner, network, card, with_features=domain is not None)
        self.tuner: Tuner | None = None
        self._adopted: TunedChoice | None = None
        self._notices: list[PredictionNotice] = []
        self._torch_network, failure = self._compile(self.device)
        self._compiled_network: PlaneNetwork = self._torch_network
        if failure:
            self._notices.append(self._fall_back_to_cpu(failure))

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str | torch.device | None = None,
        roi_folder: Path | None = None,
        tuning: TuningSettings | None = None,
    ) -> "Predictor":
        """Load the version in a folder and, if it needs a region of interest, that in `roi_folder`, which finds it.

        With `tuning`, runtime, precision and batch are chosen by measurement; without, torch computes as usual.

        Raises
        ------
        MedSegError
            If files are missing or damaged.
        """
        keep_freed_memory()
        network, card = load_version(folder)
        roi_predictor = load_roi_predictor(roi_folder, device, tuning) if card.field is not None else None
        domain, problem = load_statistics(folder, card)
        predictor = cls(network, card, device, roi_predictor=roi_predictor, domain=domain)
        if problem:
            predictor._notices.append(make_notice(problem))
        if tuning is not None:
            predictor.use_tuning(tuning)
        return predictor

    def use_tuning(self, settings: TuningSettings) -> None:
        """Choose runtime, precision and batch by measurement from now on; not for an adapted state."""
        if self.card.lineage.parent == self.card.id:  # its weights live for a few cases, less than a conversion costs
            return
        self.tuner = self._make_tuner(device=self.device, settings=settings)
        self._adopt_choice()

    @property
    def device_title(self) -> str:
        """Name of the device to show, with the runtime if that is not torch."""
        runtime = " (OpenVINO)" if isinstance(self._compiled_network, OpenVinoNetwork) else ""
        return describe_device(self.device) + runtime

    @property
    def runtime_title(self) -> str:
        """Name of the runtime, with its version and precision, such as ``torch 2.14.1, bf16``."""
        return describe_runtime(self._compiled_network)

    def tune(
        self,
        image: Image | None = None,
        *,
        at_once: bool = False,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Measure in about 1 s, if due or `at_once`; before the first `image` where a person asked for a runtime."""
        if self.tuner is not None and (at_once or self.tuner.is_due or self.tuner.must_decide_first):
            sample = None if image is None else self.tuner.take_sample(image, self._torch_network)
            if text := self.tuner.decide(self._torch_network, self.limits.batch_px, sample, is_stopped):
                self._notices.append(make_notice(text))

    def predict_labels(self, image: Image, tell: Callable[[str], object] = logger.debug) -> AnyLabels:
        """Predict and return the labels only, as of `predict`; `tell` takes the notices, which are also logged."""
        return get_result(self.predict(image), tell).labels

    def predict(
        self, image: Image, options: PredictionOptions | None = None, observer: LogitsObserver | None = None
    ) -> Iterator[PredictionEvent]:
        """Yield progress after every forward pass and step, notices, and finally the result. Close it to cancel.

        Arrays of the result are of `image.spatial_shape`, (y, x) or (z, y, x); `PredictionResult` has their types.
        `observer` is shown the logits of all planes, as an evaluation needs them; then no probabilities are written.

        Raises
        ------
        MedSegError
            If the model does not accept the image, or there is not enough memory for the smallest tile.
        """
        computed = yield from self.predict_planes(image, options, observer)
        yield from computed.finish()

    def predict_planes(
        self, image: Image, options: PredictionOptions | None = None, observer: LogitsObserver | None = None
    ) -> Generator[PredictionProgress | PredictionNotice | PredictionPart, None, ComputedPlanes]:
        """As `predict`, without post-processing; return what that needs, so that the next image can go on meanwhile."""
        options = options or PredictionOptions()
        timer = PredictionTimer()
        self.tune(image, is_stopped=options.is_cancelled)
        if options.is_cancelled():
            yield PredictionProgress(0, 1, "cancelled", None)  # whoever cancelled closes the prediction here
        self._adopt_choice()
        yield from self._notices
        self._notices.clear()
        finder = self.roi_predictor
        roi = None
        if finder is not None:
            only_cancel = PredictionOptions(is_cancelled=options.is_cancelled)
            roi = yield from get_roi(finder.predict(image, only_cancel), finder.card.task)
        box = None if roi is None or self.card.field is None else compute_roi_box(roi, self.card.field.margin)
        done_by: dict[tuple[str, str], None] = {}
        with record_probabilities(options.probabilities_file, image, self.card, box) as recorder:
            accumulator = yield from self._predict_all_planes(image, box, options, timer, observer or recorder, done_by)
        features = self._compiled_network.take_features()
        devices, runtimes = (", then ".join(dict.fromkeys(one)) for one in zip(*done_by, strict=True))
        return ComputedPlanes(image, self.card, accumulator, timer, devices, runtimes, roi, box, self.domain, features)

    def _predict_all_planes(
        self,
        whole: Image,
        box: Box | None,
        options: PredictionOptions,
        timer: PredictionTimer,
        observer: LogitsObserver | None,
        done_by: dict[tuple[str, str], None],
    ) -> Generator[PredictionProgress | PredictionNotice | PredictionPart, None, PredictionAccumulator]:
        """Run all planes through the network, in smaller batches or tiles if memory runs out; `done_by` gets titles."""
        image = whole if box is None else crop_image(whole, box)
        shape, temperature = get_planes_shape(image), self.card.calibration.applied_temperature
        n_classes, with_depth = self.card.architecture.classes, self.card.instances is not None
        with_map, padding = options.with_uncertainty_map, image.find_padding()
        accumulator = PredictionAccumulator(shape, n_classes, with_map, with_depth, temperature, observer, padding)
        parts = PartCutter(accumulator.labels, whole.spatial_shape, box, options.with_parts and not with_depth)
        batches = PreparedBatches(image, self.card, is_ahead=self.device.type != "cpu")
        self._compiled_network.take_features()  # those of a prediction that was cancelled
        first = 0
        while first < shape[0]:
            prepared = batches.get(first, count_planes_per_batch(image, self.card, self.limits))
            is_full, is_of_gpu, failure = False, False, ""  # handled below: in the block the error keeps the tensors
            is_openvino = isinstance(self._compiled_network, OpenVinoNetwork)
            try:
                passes = PlanePasses(self._compiled_network, self.device, self.limits, accumulator, timer, self.tuner)
                yield from passes.run(prepared, first)
            except FAILURES as error:
                is_full, is_of_gpu = is_out_of_memory(error), can_fall_back(error, self.device)
                failure = get_reason(error)
                if not is_full and not is_of_gpu and not is_openvino:
                    raise
            if failure and is_openvino:
                yield self._return_to_torch(failure)
            elif is_full:
                yield self._reduce_batch_or_tile(prepared, is_of_gpu)
            elif failure:
                yield self._fall_back_to_cpu(failure)
            else:
                first += len(prepared.planes)
                done_by[self.device_title, self.runtime_title] = None
                yield from parts.cut(first)
        return accumulator

    def _adopt_choice(self) -> None:
        if self.tuner is not None and self.tuner.choice is not self._adopted:
            self._compiled_network, self._adopted = self.tuner.make_network(self._torch_network), self.tuner.choice
            if self._adopted is not None and self._adopted.batch_px and self.limits == DEVICE_LIMITS[self.device.type]:
                self.limits = replace(self.limits, batch_px=self._adopted.batch_px)

    def _return_to_torch(self, reason: str) -> PredictionNotice:
        if self.tuner is not None:
            self.tuner.give_up(reason)
        self._compiled_network = self._torch_network
        return make_notice(f"OpenVINO cannot predict ({reason}); torch goes on.")

    def _reduce_batch_or_tile(self, prepared: PreparedImage, is_of_gpu: bool) -> PredictionNotice:
        """Use fewer planes per batch, then tiles, then smaller ones, also for the next image; for a GPU the CPU."""
        free_cached_memory(self.device)
        height, width = prepared.planes.shape[-2:]
        owner = self.device_title if is_of_gpu else "this computer"
        smaller = reduce_limits(self.limits, len(prepared.planes), height, width)
        if smaller is not None:
            self.limits, words = smaller
            return make_notice(f"The memory of {owner} ran out; going on with {words}.")
        if is_of_gpu:
            return self._fall_back_to_cpu("its memory ran out, even with the smallest tiles")
        raise MedSegError(
            f"{owner} has too little memory for {self.card.id}, even in tiles of "
            f"{get_longest_side(self.limits, height, width)} px. Close other programs, or choose a smaller model."
        )

    def _fall_back_to_cpu(self, reason: str) -> PredictionNotice:
        """Go on with the CPU and its limits; return the notice."""
        notice = make_notice(f"{self.device_title} cannot predict ({reason}); the CPU goes on, more slowly.")
        free_cached_memory(self.device)
        self.device, self.limits, self.fell_back_at = CPU, DEVICE_LIMITS["cpu"], time.monotonic()
        self._torch_network, _ = self._compile(CPU)
        self._compiled_network = self._torch_network
        if self.tuner is not None:
            self.use_tuning(self.tuner.settings)
        return notice


def load_roi_predictor(
    roi_folder: Path | None, device: str | torch.device | None = None, tuning: TuningSettings | None = None
) -> Predictor | None:
    """Load the version that predicts a region of interest; `None` if no folder is given."""
    return None if roi_folder is None else Predictor.load(roi_folder, device, tuning=tuning)
