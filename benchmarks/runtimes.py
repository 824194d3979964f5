"""torch against OpenVINO for each bundled model: time, equal labels, and Dice; and which architectures convert.

    python benchmarks/runtimes.py --threads 1
    python benchmarks/runtimes.py --architectures

Each image is predicted in all ways in turn, through the whole `Predictor`. Times are of the forward passes: medians of
the processor (per thread) and of the clock, so that other work on the machine can be told apart. Dice is that of all
labels as one against the reference, where `../shared` has one.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture
from napari_medseg.core.model_registry import BUNDLED_MODELS
from napari_medseg.inference.compiled_network import CompiledNetwork, fuse_conv_bn
from napari_medseg.inference.device import CPU
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.runtimes.openvino_model import convert_network
from napari_medseg.inference.runtimes.openvino_network import OpenVinoNetwork, PlaneNetwork, compute_label_agreement
from napari_medseg.networks import ARCHITECTURES, build_network, load_version
from napari_medseg.networks.precision import choose_autocast_dtype

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SAMPLES = ROOT / "napari_medseg" / "samples"
SOURCES = {
    "lungs": (DATA / "lungs/medseg_slices/images", DATA / "lungs/medseg_slices/labels"),
    "covid": (DATA / "covid/medseg/images", DATA / "covid/medseg/masks"),
    "nuclei": (DATA / "nuclei/dsb2018/images", DATA / "nuclei/dsb2018/instances"),
    "instruments": (DATA / "instruments/images", DATA / "instruments/masks"),
}
FALLBACK = {
    "lungs": SAMPLES / "ct_a0001/dicom",
    "covid": SAMPLES / "ct_a0001/dicom",
    "nuclei": SAMPLES / "nuclei_dsb/images",
    "instruments": SAMPLES / "laparoscopy/images",
}
SHAPES = ((1, 256, 320), (2, 192, 128), (1, 512, 512))


@dataclass
class Way:
    """One way to compute a model, and what was found."""

    name: str
    network: PlaneNetwork
    processor_s: list[float] = field(default_factory=list)
    clock_s: list[float] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    labels: list[NDArray[np.integer]] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)

    def compute_logits(self, planes: NDArray[np.float32]) -> Tensor:
        """Compute as the network does, and note the time."""
        processor, clock = time.process_time(), time.perf_counter()
        logits = self.network.compute_logits(planes)
        self.processor_s.append((time.process_time() - processor) / torch.get_num_threads())
        self.clock_s.append(time.perf_counter() - clock)
        self.pixels.append(planes.shape[0] * planes.shape[-2] * planes.shape[-1])
        return logits

    def take_features(self) -> NDArray[np.float32]:
        """Return those of the network."""
        return self.network.take_features()

    def get_ms_per_slice(self, seconds: list[float]) -> float:
        """Return milliseconds per 512 x 512 pixels: the median over the passes."""
        each = [1e3 * spent / pixels * 512**2 for spent, pixels in zip(seconds, self.pixels, strict=True)]
        return statistics.median(each)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=6, help="of each model")
    parser.add_argument("--architectures", action="store_true", help="only say which architectures convert")
    parser.add_argument("--only", nargs="+", help="architectures or models")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.architectures:
        for name in sorted(options.only or ARCHITECTURES):
            print(f"{name}: {check_architecture(name)}", flush=True)
        return 0
    table = Table("model", "way", "ms per slice", "on the clock", "equal labels", "lowest", "Dice")
    for folder in sorted(card.parent for card in BUNDLED_MODELS.glob("*/*/card.json")):
        if not options.only or folder.parent.name in options.only:
            for row in measure_model(folder, options.images):
                table.add_row(*row)
    Console(width=140).print(table)
    return 0


def measure_model(folder: Path, n_images: int) -> Iterator[tuple[str, ...]]:
    """Predict the images of a model in all ways, and yield a row for each."""
    network, card = load_version(folder)
    predictor = Predictor.load(folder, "cpu")
    predictor.roi_predictor = predictor.domain = None  # the same for all ways
    predictor.card = card.model_copy(update={"field": None})
    exact = CompiledNetwork(network, CPU, None)
    model = convert_network(fuse_conv_bn(network), card.architecture.in_channels, with_features=False)
    ways = [Way("torch fp32", exact), Way("OpenVINO fp32", OpenVinoNetwork(model, exact))]
    if choose_autocast_dtype(CPU, "bf16") is not None:
        ways.append(Way("torch bf16", CompiledNetwork(network, CPU, torch.bfloat16)))
        ways.append(Way("OpenVINO bf16", OpenVinoNetwork(model, exact, torch.bfloat16)))
    for image, truth in read_images(card.task, n_images):
        for way in ways:
            predictor._compiled_network = way  # type: ignore[assignment]
            labels = predictor.predict_labels(image)
            way.labels.append(labels)
            if truth is not None:
                way.dice.append(compute_dice(labels > 0, truth > 0))
    for way in ways:
        pairs = zip(way.labels, ways[0].labels, strict=True)
        has_numbers = card.instances is not None  # of objects, which may be counted otherwise
        equal = [float(np.mean((one > 0) == (other > 0) if has_numbers else one == other)) for one, other in pairs]
        dice = f"{np.mean(way.dice):.4f}" if way.dice else "no reference"
        times = (f"{way.get_ms_per_slice(spent):.0f}" for spent in (way.processor_s, way.clock_s))
        yield card.id, way.name, *times, f"{np.mean(equal):.4%}", f"{min(equal):.4%}", dice


def read_images(task: str, n_images: int) -> Iterator[tuple[Image, NDArray[np.integer] | None]]:
    """Yield images of a task with their references, evenly spread over the folder; samples without `../shared`."""
    images, labels = SOURCES[task]
    files = sorted((images if images.is_dir() else FALLBACK[task]).iterdir())
    for path in files[:: max(1, len(files) // n_images)][:n_images]:
        found = list(labels.glob(f"{path.stem}.*")) if labels.is_dir() else []
        truth = formats.read(found[0]).pixels if found else None
        yield formats.read(path), truth if truth is None or truth.ndim == 2 else truth.max(axis=-1)


def compute_dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient; 1 if both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 1.0 if total == 0 else 2.0 * int((one & other).sum()) / total


def check_architecture(name: str) -> str:
    """Return whether OpenVINO computes an architecture with random weights, for planes of several sizes."""
    options = {"member": "unet", "n_members": 2} if name == "ensemble" else {}
    architecture = Architecture(name=name, in_channels=1, classes=3, options=options)
    torch.manual_seed(0)
    network = build_network(architecture).eval()
    exact = CompiledNetwork(network, CPU, None)
    try:
        converted = OpenVinoNetwork(convert_network(fuse_conv_bn(network), 1, with_features=False), exact)
        shares = []
        for n, height, width in SHAPES:
            planes = np.random.default_rng(0).normal(size=(n, 1, height, width)).astype(np.float32)
            shares.append(compute_label_agreement(converted.compute_logits(planes), exact.compute_logits(planes)))
    except (MedSegError, RuntimeError) as error:
        return f"no: {str(error).splitlines()[0][:120]}"
    return f"{'yes' if min(shares) >= 0.999 else 'no'}, {min(shares):.3%} of the labels equal"


if __name__ == "__main__":
    sys.exit(main())
