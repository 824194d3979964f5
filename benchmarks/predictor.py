"""Our predictor compared with `monai.inferers.sliding_window_inference`: time, peak memory, agreement.

Network, weights, preprocessing and input image are the same. MONAI is measured up to its logits, in fp32; the predictor
up to labels and uncertainty. "bare passes" are only the forward passes that the predictor makes. The contenders take
turns, so that other work on the machine affects all of them. Peak memory is the memory of a process in addition to
image and network.

    python benchmarks/predictor.py --out predictor.json
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor, nn

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.batch_limits import BatchLimits
from napari_medseg.inference.compiled_network import CompiledNetwork
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.preprocess import prepare
from napari_medseg.networks import load_version
from napari_medseg.networks.precision import choose_autocast_dtype

PACKAGE = Path(napari_medseg.__file__).parent
WINDOW_PX = 256
WINDOWS_AT_ONCE = {"cpu": 4, "cuda": 32}
"""The best value for the reference: four windows of 256 px leave a GPU idle."""
REFERENCE = "monai 0.25"
BARE = "bare passes"
OURS = "predictor"
AIMS = {"slice": 0.3, "stack": 0.25, "picture": 0.6}
"""Share of the reference's time."""
MAX_OVERHEAD = 1.15
"""Of the bare forward passes' time."""

CLEAR_PEAK = Path("/proc/self/clear_refs")

LabelsOrLogits = NDArray[np.uint8 | np.uint16] | Tensor


@dataclass(frozen=True)
class Row:
    """One contender on one image."""

    image: str
    contender: str
    seconds: float
    cpu_seconds: float
    share_of_reference: float
    peak_mb: float | None
    agreement: float | None


def main() -> None:
    """Measure what the command line asks for and print a table."""
    options = _options()
    if options.peak:
        contender, name = options.peak
        print(_peak_bytes(options.version, contender, name))
        return
    network, card = load_version(options.version)
    rows = [row for name in options.images for row in _compare(network, card, name, options)]
    _print_table(rows)
    if options.out:
        report = {"version": card.id, "threads": torch.get_num_threads(), "torch": torch.__version__}
        options.out.write_text(json.dumps(report | {"rows": [asdict(row) for row in rows]}, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", type=Path, default=PACKAGE / "models/lungs-unet/4", help="a version's folder")
    parser.add_argument("--images", nargs="+", choices=sorted(AIMS), default=list(AIMS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--no-agreement", action="store_true", help="skip the fp32 pass of the whole image (7 GB)")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_image(name: str, side: int = 8) -> Image:
    """Return a slice of 512 x 512, a stack of `side` x `side` slices, or these side by side as one picture.

    Parameters
    ----------
    name
        ``"slice"``, ``"stack"`` or ``"picture"``.
    side
        8 makes 64 slices, and a picture of 4000 x 4000 pixels.
    """
    series = formats.read(PACKAGE / "samples/ct_a0001/dicom")
    pixels = series.pixels[np.arange(side * side) % len(series.pixels)]
    if name == "slice":
        return Image(np.ascontiguousarray(series.pixels[8]), "YX", units="HU")
    if name == "stack":
        return Image(np.ascontiguousarray(pixels), "ZYX", units="HU")
    mosaic = pixels[:, 6:506, 6:506].reshape(side, side, 500, 500).transpose(0, 2, 1, 3).reshape(2 * (side * 500,))
    return Image(np.ascontiguousarray(mosaic), "YX", units="HU")


def make_bare_card(card: ModelCard) -> ModelCard:
    """Return the card without cleaning, which MONAI does not do either, and without reduction of large planes."""
    preprocessing = card.preprocessing.model_copy(update={"max_side_px": 4096})
    return card.model_copy(update={"preprocessing": preprocessing, "postprocessing": []})


def _compare(network: nn.Module, card: ModelCard, name: str, options: argparse.Namespace) -> list[Row]:
    image, card = make_image(name), make_bare_card(card)
    contenders = make_contenders(network, card, image)
    times = take_turns(contenders, options.repeats)
    truth = None if options.no_agreement else _whole_fp32(network, card, image)
    reference = statistics.median(wall for wall, _ in times[REFERENCE])
    rows = []
    for contender, measured in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
        bare = contender == BARE
        peak = None if bare else _peak_in_new_process(options.version, contender, name)
        agreement = None if bare or truth is None else float(np.mean(_labels(contenders[contender](), image) == truth))
        rows.append(Row(name, contender, wall, cpu, wall / reference, peak, agreement))
    return rows


def make_contenders(
    network: nn.Module, card: ModelCard, image: Image, device: str = "cpu"
) -> dict[str, Callable[[], LabelsOrLogits]]:
    """Return what is compared, by its name; each returns when the device has done its work.

    Parameters
    ----------
    network, card
        From `make_bare_card`, so that all do the same.
    image
        What is predicted; reading it is not part of the work.
    device
        ``"cpu"`` or ``"cuda"``.
    """
    predictor = Predictor(network, card, device)
    place = predictor.device
    runner = CompiledNetwork(network, place, choose_autocast_dtype(place, card.precision))
    batches = _make_noise(record_batch_shapes(card, image, predictor.limits))
    reference = copy.deepcopy(network).eval().to(place)

    def monai(overlap: float) -> Tensor:
        planes = torch.from_numpy(np.ascontiguousarray(prepare(image, card).planes)).to(place)
        at_once = WINDOWS_AT_ONCE[place.type]
        with torch.inference_mode():
            logits: Tensor = sliding_window_inference(
                planes, WINDOW_PX, at_once, reference, overlap=overlap, mode="gaussian"
            )
        return _wait(logits)

    def bare() -> Tensor:
        return _wait([runner.compute_logits(batch) for batch in batches][-1])

    return {
        REFERENCE: lambda: monai(0.25),
        "monai 0.5": lambda: monai(0.5),
        BARE: bare,
        OURS: lambda: predictor.predict_labels(image),
    }


def _wait(logits: Tensor) -> Tensor:
    """Return them after a GPU has computed them."""
    if logits.is_cuda:
        torch.cuda.synchronize()
    return logits


class _Recorder(nn.Module):
    """Records its inputs instead of computing."""

    def __init__(self, classes: int, shapes: list[tuple[int, ...]]) -> None:
        super().__init__()
        self._classes = classes
        self._note = shapes.append  # a method of the list: the predictor copies the network, but not this

    def forward(self, planes: Tensor) -> Tensor:
        self._note(tuple(planes.shape))
        return torch.zeros(len(planes), self._classes, *planes.shape[-2:])


def record_batch_shapes(card: ModelCard, image: Image, limits: BatchLimits) -> list[tuple[int, ...]]:
    """Return the shapes (n, c, h, w) that the predictor gives to the network for an image."""
    shapes: list[tuple[int, ...]] = []
    Predictor(_Recorder(card.architecture.classes, shapes), card, "cpu", limits).predict_labels(image)
    return shapes


def _make_noise(shapes: list[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    noise = np.random.default_rng(0).normal(size=max(shapes, key=np.prod)).astype(np.float32)
    return [np.resize(noise, shape) for shape in shapes]


def take_turns(contenders: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds on the wall and on the CPU of every contender, one after the other in each round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            contender()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def _whole_fp32(network: nn.Module, card: ModelCard, image: Image) -> NDArray[np.uint8]:
    """Return what all are compared with: every plane in one fp32 forward pass."""
    planes = prepare(image, card).planes
    with torch.inference_mode():
        logits = [network(torch.from_numpy(np.ascontiguousarray(plane))[None]) for plane in planes]
    return _labels(torch.cat(logits), image)


def _labels(answer: LabelsOrLogits, image: Image) -> NDArray[Any]:
    """Labels of logits (n, classes, y, x), without the padding; labels stay what they are."""
    if not isinstance(answer, Tensor):
        return answer
    height, width = image.spatial_shape[-2:]
    labels: NDArray[np.uint8] = answer.cpu().numpy()[..., :height, :width].argmax(axis=1).astype(np.uint8)
    return labels.reshape(image.spatial_shape)


def _peak_in_new_process(version: Path, contender: str, name: str) -> float | None:
    """Peak megabytes that a contender takes beyond image and network, in a process of its own; Linux only."""
    if not CLEAR_PEAK.exists():
        return None
    command = [sys.executable, __file__, "--version", str(version), "--peak", contender, name]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e6


def _peak_bytes(version: Path, contender: str, name: str) -> int:
    network, card = load_version(version)
    image, card = make_image(name), make_bare_card(card)
    small = Image(image.pixels[..., :64, :64], image.axes, units="HU")
    make_contenders(network, card, small)[contender]()  # lets the libraries load what they need
    run = make_contenders(network, card, image)[contender]
    before = _status_bytes("VmRSS")
    CLEAR_PEAK.write_text("5")  # the kernel counts the peak from here
    run()
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _print_table(rows: list[Row]) -> None:
    print(
        f"{'image':8} {'contender':12} {'wall s':>8} {'CPU s':>8} {'of monai':>8} {'peak MB':>8} "
        f"{'argmax as whole fp32':>21}"
    )
    for row in rows:
        peak = "" if row.peak_mb is None else f"{row.peak_mb:.0f}"
        agreement = "" if row.agreement is None else f"{row.agreement:.4%}"
        print(
            f"{row.image:8} {row.contender:12} {row.seconds:8.3f} {row.cpu_seconds:8.3f} "
            f"{row.share_of_reference:8.2f} {peak:>8} {agreement:>21}"
        )
    for name in dict.fromkeys(row.image for row in rows):
        print(_verdict({row.contender: row for row in rows if row.image == name}))


def _verdict(by_contender: dict[str, Row]) -> str:
    """Print whether the aims are met."""
    ours, bare, monai = by_contender[OURS], by_contender[BARE], by_contender[REFERENCE]
    overhead = ours.seconds / bare.seconds
    aims = {
        f"time {ours.share_of_reference:.2f} of MONAI's (at most {AIMS[ours.image]})": ours.share_of_reference
        <= AIMS[ours.image],
        f"{overhead:.2f} x bare passes (at most {MAX_OVERHEAD})": overhead <= MAX_OVERHEAD,
    }
    if ours.peak_mb is not None and monai.peak_mb is not None:
        aims[f"memory {ours.peak_mb / monai.peak_mb:.2f} of MONAI's (at most 1)"] = ours.peak_mb <= monai.peak_mb
    if ours.agreement is not None and monai.agreement is not None:
        aims[f"agreement {ours.agreement:.4%} (MONAI {monai.agreement:.4%})"] = ours.agreement >= monai.agreement
    return f"{ours.image}: " + "; ".join(f"{text} {'met' if met else 'MISSED'}" for text, met in aims.items())


if __name__ == "__main__":
    main()
