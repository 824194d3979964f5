"""torch against OpenVINO for each bundled model: time and all that a prediction holds; which architectures convert.

    python benchmarks/runtimes.py --threads 1
    python benchmarks/runtimes.py --architectures --limit 60

Each image is predicted by both in turn, through the whole `Predictor`: region of interest, uncertainty, the check for
unlike images, probabilities as the cache holds them. The last row is a part of a whole slide, in tiles. Times are of
the forward passes of the model, without those of its region: medians of the processor (per thread) and of the clock, so
that other work on the machine can be told apart. Dice is that of all labels as one, where `../shared` has a reference.

Each architecture is converted in a process of its own, which is ended after `--limit` seconds: a few take many minutes.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
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
from napari_medseg.core.model_card import Architecture, read_card
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.inference.compiled_network import CompiledNetwork, fuse_conv_bn
from napari_medseg.inference.device import CPU
from napari_medseg.inference.events import PredictionOptions, get_result
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.probabilities.stored_probabilities import StoredProbabilities, read_uncertainty
from napari_medseg.inference.runtimes.openvino_model import convert_network
from napari_medseg.inference.runtimes.openvino_network import OpenVinoNetwork, PlaneNetwork, compute_label_agreement
from napari_medseg.networks import ARCHITECTURES, build_network, load_version

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
TIMES = ("processor_ms", "clock_ms")
SHAPES = ((1, 160, 224), (2, 192, 128), (1, 256, 256))


CHUNK_PX = 1600
"""Side of the part of a whole slide; larger than what is predicted without tiles."""


@dataclass
class TimedNetwork:
    """A network that notes the time of its passes, per 512 x 512 pixels."""

    network: PlaneNetwork
    processor_ms: list[float] = field(default_factory=list)
    clock_ms: list[float] = field(default_factory=list)

    def compute_logits(self, planes: NDArray[np.float32]) -> Tensor:
        """Compute as the network does."""
        processor, clock = time.process_time(), time.perf_counter()
        logits = self.network.compute_logits(planes)
        slices = planes.shape[0] * planes.shape[-2] * planes.shape[-1] / 512**2
        self.processor_ms.append(1e3 * (time.process_time() - processor) / torch.get_num_threads() / slices)
        self.clock_ms.append(1e3 * (time.perf_counter() - clock) / slices)
        return logits

    def take_features(self) -> NDArray[np.float32]:
        """Return those of the network."""
        return self.network.take_features()


@dataclass
class Comparison:
    """What was found for one model, image by image."""

    labels: list[float] = field(default_factory=list)
    roi: list[float] = field(default_factory=list)
    probabilities: list[int] = field(default_factory=list)
    uncertainty: list[float] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    dice: list[tuple[float, float]] = field(default_factory=list)

    def list_cells(self) -> list[str]:
        """Return the cells of a row of the table."""
        dice = "no reference"
        if self.dice:
            dice = " / ".join(f"{mean:.4f}" for mean in np.mean(self.dice, axis=0))
        return [
            f"{len(self.labels)}",
            f"{np.mean(self.labels):.4%}",
            f"{min(self.labels):.4%}",
            f"{min(self.roi):.4%}" if self.roi else "",
            f"{max(self.probabilities)}",
            f"{max(self.uncertainty):.5f}",
            f"{max(self.distance):.5f}" if self.distance else "",
            dice,
        ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=4, help="of each model")
    parser.add_argument("--architectures", action="store_true", help="only say which architectures convert")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for an architecture")
    parser.add_argument("--only", nargs="+", help="architectures or models")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.architectures:
        for name in sorted(options.only or ARCHITECTURES):
            began = time.perf_counter()
            found = check_in_process(name, options.limit)
            print(f"| {name} | {found} | {time.perf_counter() - began:.0f} |", flush=True)
        return 0
    columns = "torch ms", "OpenVINO ms", "times", "on the clock", "images", "equal labels", "lowest", "region"
    table = Table("model", *columns, "probability", "uncertainty", "unlike", "Dice")
    for card in sorted(BUNDLED_MODELS.glob("*/*/card.json")):
        if not options.only or card.parent.parent.name in options.only:
            for row in measure_model(card.parent, options.images):
                print(" | ".join(row), flush=True)
                table.add_row(*row)
    Console(width=200).print(table)
    return 0


def measure_model(folder: Path, n_images: int) -> Iterator[list[str]]:
    """Predict the images of a model in both ways, and yield a row; for nuclei also one of a part of a slide."""
    usual, fast = load_both(folder)
    images = list(read_images(usual.card.task, n_images))
    yield [usual.card.id, *compare(usual, fast, images)]
    if usual.card.instances is not None:
        repeats = [-(-CHUNK_PX // side) for side in images[0][0].spatial_shape]
        pixels = np.tile(images[0][0].pixels, (*repeats, 1))[:CHUNK_PX, :CHUNK_PX]
        yield [f"{usual.card.id}, slide", *compare(usual, fast, [(Image(pixels, "YXC"), None)])]


def load_both(folder: Path) -> tuple[Predictor, Predictor]:
    """Return predictors of a version in torch and in OpenVINO, both in fp32, each with the model of its region."""
    models = ModelRegistry(folder.parent / "none", BUNDLED_MODELS)
    roi_folder = models.find_roi_folder(read_card(folder / "card.json"))
    usual, fast = Predictor.load(folder, "cpu", roi_folder), Predictor.load(folder, "cpu", roi_folder)
    for one, other, place in ((usual, fast, folder), (usual.roi_predictor, fast.roi_predictor, roi_folder)):
        if one is None or other is None or place is None:
            continue
        with_features = one.domain is not None
        network, card = load_version(place)
        one._compiled_network = TimedNetwork(CompiledNetwork(network, CPU, None, with_features))
        model = convert_network(fuse_conv_bn(network), card.architecture.in_channels, with_features)
        exact = CompiledNetwork(network, CPU, None, with_features)
        other._compiled_network = TimedNetwork(OpenVinoNetwork(model, exact))
    return usual, fast


def compare(usual: Predictor, fast: Predictor, images: Sequence[tuple[Image, NDArray[np.integer] | None]]) -> list[str]:
    """Predict images in both ways; return the cells of a row."""
    networks = [one for one in (usual._compiled_network, fast._compiled_network) if isinstance(one, TimedNetwork)]
    for network in networks:
        network.processor_ms.clear()
        network.clock_ms.clear()
    found = Comparison()
    for image, truth in images:
        with tempfile.TemporaryDirectory() as folder:
            compare_image(usual, fast, image, truth, Path(folder), found)
    processor, clock = ([statistics.median(getattr(one, name)) for one in networks] for name in TIMES)
    times = [*(f"{ms:.0f}" for ms in processor), f"{processor[0] / processor[1]:.2f}", f"{clock[0] / clock[1]:.2f}"]
    return times + found.list_cells()


def compare_image(
    usual: Predictor, fast: Predictor, image: Image, truth: NDArray[np.integer] | None, folder: Path, found: Comparison
) -> None:
    """Predict one image in both ways, and note what differs."""
    one, other = (
        get_result(predictor.predict(image, PredictionOptions(True, folder / name)), print)
        for predictor, name in ((usual, "torch"), (fast, "openvino"))
    )
    has_numbers = usual.card.instances is not None  # of objects, which may be counted otherwise
    found.labels.append(
        share_equal(one.labels > 0, other.labels > 0) if has_numbers else share_equal(one.labels, other.labels)
    )
    if one.roi is not None and other.roi is not None:
        found.roi.append(share_equal(one.roi, other.roi))
    maps = [read_uncertainty(StoredProbabilities(folder / name, image.spatial_shape)) for name in ("torch", "openvino")]
    found.probabilities.append(int(np.abs(maps[0].astype(int) - maps[1]).max()))
    found.uncertainty.append(abs(one.uncertainty - other.uncertainty))
    if one.domain_distance is not None and other.domain_distance is not None:
        found.distance.append(abs(one.domain_distance - other.domain_distance))
    if truth is not None:
        found.dice.append((compute_dice(one.labels > 0, truth > 0), compute_dice(other.labels > 0, truth > 0)))


def share_equal(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Return the share of equal values."""
    return float(np.mean(one == other))


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


def check_in_process(name: str, limit_s: float) -> str:
    """Return what `check_architecture` returns, or that it took too long."""
    can_fork = "fork" in multiprocessing.get_all_start_methods()  # torch is imported already
    context = multiprocessing.get_context("fork" if can_fork else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_check, args=(name, sender))
    process.start()
    sender.close()
    try:
        return str(receiver.recv()) if receiver.poll(limit_s) else f"not within {limit_s:.0f} s"
    except EOFError:
        return "no: the process ended"
    finally:
        process.kill()
        process.join()


def send_check(name: str, sender: Connection) -> None:
    """Check an architecture in a process of its own."""
    sender.send(check_architecture(name))


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
