"""The checks of `gpu.py` in its own process: agreement of labels, speed, out of memory, release of memory."""

import gc
import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_figures import MB, NO_GPU, Bench, Figure, Sizes, measure_peak_mb, read_free_bytes
from numpy.typing import NDArray
from predictor import (
    BARE,
    OURS,
    REFERENCE,
    make_bare_card,
    make_contenders,
    make_image,
    record_batch_shapes,
    take_turns,
)
from torch import Tensor, nn

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.events import PredictionNotice, PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import load_version

PACKAGE = Path(napari_medseg.__file__).parent
MODELS = PACKAGE / "models"
SAMPLES = {
    "lungs": ("ct_a0001/dicom", "xray/images"),
    "covid": ("ct_a0001/dicom",),
    "nuclei": ("nuclei_dsb/images",),
    "instruments": ("laparoscopy/images",),
}
TIMED_MODEL = MODELS / "lungs-unet" / "4"

MIN_AGREEMENT = 0.999
MIN_AGREEMENT_OF_TILES = 0.99
"""Smaller tiles have less context."""
MAX_SHARE_OF_MONAI = 0.5
MAX_SHARE_OF_BARE = 1.1
MAX_PEAK_MB = 6000.0
"""For tensors: the predictor must fit on an 8 GB card that also drives a screen."""
MAX_KEPT_MB = 64.0
"""Workspaces of the CUDA libraries stay until their process ends."""


@dataclass(frozen=True)
class Variant:
    """How a network computes: by autocast in `dtype` (fp32 where `None`), and whether `torch.compile` made it."""

    dtype: torch.dtype | None = None
    is_compiled: bool = False


REFERENCE_VARIANT = Variant()
VARIANTS = {
    "fp32, channels last": Variant(),
    "bf16, channels last": Variant(torch.bfloat16),
    "fp16, channels last": Variant(torch.float16),
    "bf16, channels last, compiled": Variant(torch.bfloat16, is_compiled=True),
}


class VariantNetwork(nn.Module):
    """A network that computes as a variant says, whatever the precision on its card; logits are fp32."""

    def __init__(self, network: nn.Module, variant: Variant) -> None:
        super().__init__()
        self.network = network
        self._variant = variant
        self._compiled: list[Any] = []  # in a list, and made late: the predictor copies and fuses the network first

    def forward(self, planes: Tensor) -> Tensor:
        """Map (n, c, h, w) to logits (n, classes, h, w)."""
        run: Any = self.network
        if self._variant.is_compiled:
            if not self._compiled:
                self._compiled.append(torch.compile(self.network))
            run = self._compiled[0]
        dtype = self._variant.dtype
        with torch.autocast(planes.device.type, dtype, enabled=dtype is not None):
            logits: Tensor = run(planes)
        return logits.float()


class FullNetwork(nn.Module):
    """Stands in for a device whose memory takes `max_px` pixels at once, where memory cannot be limited."""

    def __init__(self, network: nn.Module, max_px: int) -> None:
        super().__init__()
        self.network = network
        self._max_px = max_px

    def forward(self, planes: Tensor) -> Tensor:
        """Map (n, c, h, w) to logits (n, classes, h, w); raise `torch.OutOfMemoryError` where n * h * w is too much."""
        if planes[:, 0].numel() > self._max_px:
            raise torch.OutOfMemoryError("out of memory")
        logits: Tensor = self.network(planes)
        return logits


def check_agreement(bench: Bench) -> Iterator[Figure]:
    """Compare labels with those of the CPU in fp32: every bundled model, on the bundled samples of its task.

    Labels are final, as a person gets them. Numbers of objects are matched before they are compared. A compiled
    network labels the first sample only: other shapes are compiled anew, for half a minute each.
    """
    for folder in list_models(bench.sizes):
        predictor = make_predictor(folder, "cpu", REFERENCE_VARIANT)
        images = list(read_samples(predictor.card.task, bench.sizes))
        wanted = [predictor.predict_labels(image) for image in images]
        for name, variant in VARIANTS.items():
            title = f"{predictor.card.id}, {name}"
            if variant != REFERENCE_VARIANT and not bench.has_gpu:  # a CPU may emulate halves, in minutes
                yield Figure(title, None, note=NO_GPU)
                continue
            other = make_predictor(folder, bench.device, variant)
            chosen = images[:1] if variant.is_compiled else images
            shares = [
                compute_agreement(other.predict_labels(image), labels, predictor.card.instances is not None)
                for image, labels in zip(chosen, wanted, strict=False)
            ]
            sizes = [labels.size for labels in wanted[: len(chosen)]]
            note = f"{len(chosen)} images, worst {min(shares):.4%}"
            yield Figure(title, float(np.average(shares, weights=sizes)), at_least=MIN_AGREEMENT, note=note)
            if variant.is_compiled:
                torch.compiler.reset()


def check_speed(bench: Bench) -> Iterator[Figure]:
    """Time the predictor against MONAI's sliding window and its own forward passes alone, with peak memory."""
    network, card = load_version(TIMED_MODEL)
    card = make_bare_card(card)
    for name in ("slice", "stack", "picture"):
        image = make_image(name, bench.sizes.side)
        contenders = make_contenders(network, card, image, bench.device)
        if bench.has_gpu:
            take_turns(contenders, 1)  # libraries choose their kernels
        times = take_turns(contenders, bench.sizes.repeats)
        medians = {key: statistics.median(wall for wall, _ in rows) for key, rows in times.items()}
        title = f"{name} {'x'.join(map(str, image.spatial_shape))}"
        for key, seconds in medians.items():
            yield Figure(f"{title}: {key}", 1e3 * seconds, "ms")
        limit = MAX_SHARE_OF_MONAI if bench.has_gpu else None
        yield Figure(f"{title}: {OURS} / {REFERENCE}", medians[OURS] / medians[REFERENCE], at_most=limit)
        limit = MAX_SHARE_OF_BARE if bench.has_gpu else None
        yield Figure(f"{title}: {OURS} / {BARE}", medians[OURS] / medians[BARE], at_most=limit)
        for key in (REFERENCE, OURS):
            if not bench.has_gpu:
                yield Figure(f"{title}: peak memory of {key}", None, note=NO_GPU)
                continue
            peak = measure_peak_mb(contenders[key])
            at_most = MAX_PEAK_MB if key == OURS else None
            yield Figure(f"{title}: peak memory of {key}", peak, "MB", at_most=at_most)


def check_out_of_memory(bench: Bench) -> Iterator[Figure]:
    """Give the predictor a part of the memory that it takes: batches and tiles halve, and labels stay right.

    Labels are compared with those of tiles of the same size in enough memory, and with those of the usual tiles. On the
    CPU, where torch limits no memory, a network stands in that refuses large batches.
    """
    for name in ("stack", "picture"):
        image = make_image(name, max(2, bench.sizes.side) if name == "stack" else bench.sizes.side)
        network, card = load_version(TIMED_MODEL)
        card = make_bare_card(card)
        usual = Predictor(network, card, bench.device)
        wanted = usual.predict_labels(image)
        shapes = record_batch_shapes(card, image, usual.limits)
        before_px = max(math.prod((shape[0], *shape[-2:])) for shape in shapes)
        for share in bench.sizes.shortages:
            with limit_memory(bench, usual, image, share) as scarce:
                events = list(scarce.predict(image))
            texts = [event.text for event in events if isinstance(event, PredictionNotice)]
            (labels,) = (event.labels for event in events if isinstance(event, PredictionResult))
            after = max(math.prod((shape[0], *shape[-2:])) for shape in record_batch_shapes(card, image, scarce.limits))
            title = f"{name}, {share:.0%} of the memory"
            note = "; ".join(text.rpartition("going on with ")[2].rstrip(".") for text in texts)
            yield Figure(f"{title}: times that memory ran out", len(texts), at_least=1, note=note)
            yield Figure(f"{title}: largest batch", after / before_px, "of before", at_most=0.6)
            same = Predictor(network, card, bench.device, scarce.limits).predict_labels(image)
            agreement, whole = float(np.mean(labels == same)), float(np.mean(labels == wanted))
            yield Figure(f"{title}: labels as in enough memory", agreement, at_least=MIN_AGREEMENT)
            yield Figure(f"{title}: labels as without shortage", whole, at_least=MIN_AGREEMENT_OF_TILES)


def check_predictor_memory(bench: Bench) -> Iterator[Figure]:
    """Check that a predictor without references releases its memory."""
    title = "kept by a dropped predictor"
    if not bench.has_gpu:
        yield Figure(title, None, note=NO_GPU)
        return
    images = [make_image(name, bench.sizes.side) for name in ("slice", "picture")]
    Predictor.load(TIMED_MODEL, bench.device).predict_labels(images[0])  # loads the CUDA libraries
    gc.collect()
    before = read_free_bytes()
    predictor = Predictor.load(TIMED_MODEL, bench.device)
    for image in images:
        predictor.predict_labels(image)
    held = before - torch.cuda.mem_get_info()[0]
    del predictor
    gc.collect()
    yield Figure("taken by a predictor and torch's cache", held / MB, "MB")
    yield Figure(title, (before - read_free_bytes()) / MB, "MB", at_most=MAX_KEPT_MB)


def list_models(sizes: Sizes) -> list[Path]:
    """Return the folders of the bundled versions, or of those that are asked for."""
    folders = sorted(path.parent for path in MODELS.glob("*/*/card.json"))
    return [folder for folder in folders if not sizes.models or f"{folder.parent.name}@{folder.name}" in sizes.models]


def make_predictor(folder: Path, device: str, variant: Variant) -> Predictor:
    """Return the predictor of a version, with the one that finds its region of interest, both in a variant."""
    network, card = load_version(folder)
    finder = None
    if card.field is not None:
        newest = max((MODELS / get_task(card.field.task).default_model).iterdir(), key=lambda path: int(path.name))
        finder = make_predictor(newest, device, replace(variant, is_compiled=False))
    card = card.model_copy(update={"precision": "fp32"})
    return Predictor(VariantNetwork(network, variant), card, device, roi_predictor=finder)


def read_samples(task: str, sizes: Sizes) -> Iterator[Image]:
    """Yield the bundled samples of a task."""
    for folder in SAMPLES[task]:
        for source in formats.find_images(PACKAGE / "samples" / folder)[: sizes.n_images]:
            image = formats.read_source(source)
            if len(image.spatial_axes) == 3:
                image = replace(image, pixels=np.ascontiguousarray(image.pixels[: sizes.n_planes]))
            yield image


def compute_agreement(labels: NDArray[Any], wanted: NDArray[Any], are_objects: bool) -> float:
    """Return the share of pixels with equal labels, in [0, 1]; both arrays have the image's shape.

    Of numbered objects, each counts as the one that it overlaps most, in both directions: a lost, split or merged
    object counts, the order of numbers does not.
    """
    if not are_objects:
        return float(np.mean(labels == wanted))
    return min(_compute_matched_agreement(labels, wanted), _compute_matched_agreement(wanted, labels))


def _compute_matched_agreement(labels: NDArray[Any], wanted: NDArray[Any]) -> float:
    numbers, inverse = np.unique(labels, return_inverse=True)
    others, other_inverse = np.unique(wanted, return_inverse=True)
    overlap = np.zeros((len(numbers), len(others)), np.int64)
    np.add.at(overlap, (inverse.ravel(), other_inverse.ravel()), 1)
    return float(overlap.max(axis=1).sum() / labels.size)


@contextmanager
def limit_memory(bench: Bench, usual: Predictor, image: Image, share: float) -> Iterator[Predictor]:
    """Yield a new predictor that may use only a share of the memory that the usual one needs for the image."""
    network, _ = load_version(TIMED_MODEL)
    if not bench.has_gpu:
        shapes = record_batch_shapes(usual.card, image, usual.limits)
        max_px = int(share * max(math.prod((shape[0], *shape[-2:])) for shape in shapes))
        yield Predictor(FullNetwork(network, max_px), usual.card, bench.device, usual.limits)
        return
    scarce = Predictor(network, usual.card, bench.device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    usual.predict_labels(image)
    taken = torch.cuda.max_memory_reserved() - before
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((before + share * taken) / total)
    try:
        yield scarce
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
