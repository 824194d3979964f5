"""The engine of this computer compared with the same one behind `medseg serve`, over loopback, in one run.

Both predict the same images in turns, so that other work on the machine affects both. Each has its own process, and
the server a third one, as in real use; over a network, the time to send comes on top (the bytes are printed).

- A CT slice of 512 x 512: how much longer the server takes. The aim is at most 40 ms.
- A series: when its first labels come, and when the last.

    python benchmarks/remote.py --out remote.json
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.interface import PredictionEngine
from napari_medseg.inference.events import PredictionPart, PredictionResult
from napari_medseg.inference.remote.address import parse_address
from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.payload import encode_chunk, iterate_bytes, make_array_header
from napari_medseg.workflow.serving.tokens import TokenFile

SAMPLES = Path(napari_medseg.__file__).parent / "samples"
MAX_LONGER_MS = 40.0
N_WARM = 2


@dataclass(frozen=True)
class SliceFigures:
    """Times of one slice in ms, medians, and bytes on the wire."""

    local_ms: float
    remote_ms: float
    longer_ms: float
    sent_bytes: int
    pixels_bytes: int


@dataclass(frozen=True)
class SeriesFigures:
    """Seconds until the first labels and until the result, and the number of parts."""

    n_slices: int
    local_first_s: float
    local_s: float
    remote_first_s: float
    remote_s: float
    n_parts: int


def main() -> None:
    """Measure and print; exit with 1 if the aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="of the slice")
    parser.add_argument("--slices", type=int, default=300, help="of the series")
    parser.add_argument("--device", default="", help="of both engines, such as cuda:0")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    folder = ModelRegistry(Path(tempfile.gettempdir()) / "no-registry", BUNDLED_MODELS)
    version = folder.get_folder(folder.get_live_card("lungs").id)
    image = formats.read(sorted((SAMPLES / "ct_a0001" / "dicom").glob("*.dcm"))[0])
    with run_both(options.device) as (local, remote):
        of_slice = measure_slice(local, remote, image, version, options.rounds)
        print(of_slice)
        of_series = measure_series(local, remote, make_series(image, options.slices), version)
        print(of_series)
    if options.out is not None:
        options.out.write_text(json.dumps([asdict(of_slice), asdict(of_series)], indent=2) + "\n")
    is_early = of_series.remote_first_s < of_series.remote_s and of_series.n_parts > 0
    sys.exit(0 if of_slice.longer_ms <= MAX_LONGER_MS and is_early else 1)


@contextmanager
def run_both(device: str = "") -> Iterator[tuple[Engine, RemoteEngine]]:
    """Yield an engine and one behind a server process, both warm."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder, "access", "tokens.json")
        token = TokenFile(tokens).add("benchmark")
        command = [sys.executable, "-m", "napari_medseg", "serve", "--port", "0", "--tokens", str(tokens)]
        command += ["--folder", str(Path(folder, "server")), *(["--device", device] if device else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            local, remote = Engine(device_name=device), RemoteEngine(parse_address(address), token)
            try:
                yield local, remote
            finally:
                remote.close()
                local.close()
                server.kill()


def make_series(image: Image, n_slices: int) -> Image:
    """Return a series of one slice, with a little noise, so that no two are equal."""
    noise = np.random.default_rng(0).integers(-20, 20, image.pixels.shape, dtype=np.int16)
    pixels = np.stack([image.pixels + np.roll(noise, number) for number in range(n_slices)])
    return Image(pixels.astype(np.int16), "ZYX", (3.0, *(image.spacing_mm or (0.7, 0.7))), units=image.units)


def measure_slice(local: Engine, remote: RemoteEngine, image: Image, version: Path, n_rounds: int) -> SliceFigures:
    """Predict one slice with both, in turns."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(n_rounds + N_WARM):
        for is_remote, engine in ((False, local), (True, remote)):
            began = time.perf_counter()
            for _ in engine.predict(image, version):
                pass
            if number >= N_WARM:
                seconds[is_remote].append(time.perf_counter() - began)
    longer = [far - near for near, far in zip(seconds[False], seconds[True], strict=True)]
    _, data = make_array_header("pixels", image.pixels)
    sent = sum(len(encode_chunk(piece, image.pixels.itemsize)[1]) for piece in iterate_bytes(data))
    medians = [round(1000 * statistics.median(one), 1) for one in (seconds[False], seconds[True], longer)]
    return SliceFigures(*medians, sent, image.pixels.nbytes)


def measure_series(local: Engine, remote: RemoteEngine, series: Image, version: Path) -> SeriesFigures:
    """Predict a series with both, one after the other."""
    near, far = _time_labels(local, series, version), _time_labels(remote, series, version)
    return SeriesFigures(len(series.pixels), *near[:2], *far[:2], far[2])


def _time_labels(engine: PredictionEngine, image: Image, version: Path) -> tuple[float, float, int]:
    began, first, n_parts = time.perf_counter(), 0.0, 0
    for event in engine.predict(image, version):
        if isinstance(event, PredictionPart | PredictionResult):
            first = first or time.perf_counter() - began
            n_parts += isinstance(event, PredictionPart)
    return round(first, 2), round(time.perf_counter() - began, 2), n_parts


if __name__ == "__main__":
    main()
