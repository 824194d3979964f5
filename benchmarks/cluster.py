"""Throughput of `medseg predict --workers 2` against two independent runs on one core each, and times of one task.

python -m benchmarks.cluster [--series 40] [--slices 20] [--rounds 1] [--seconds 200] [--out FILE.json]

Both predict the same CT series, made from the sample of the program with other noise, whole pipeline: reading NIfTI,
network, postprocessing, NIfTI labels, records. They take turns in one run, because the machine may have other work.
`whole` counts the start of the processes, `steady` only the time after each process has finished its first series, as
in a run over thousands.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.workflow.workspace import PACKAGE_DIR

N_CORES = 2
RATIOS = ("ratio_whole", "ratio_steady", "ratio_cpu")
OPTIONS = ("--format", ".nii.gz", "--force", "--json")
SAMPLE = PACKAGE_DIR / "samples" / "ct_a0001" / "dicom"


@dataclass(frozen=True)
class Pace:
    """Series a second: with the start of the processes, and without; and seconds of the processor for each series.

    On a machine with other work only the last figure can be compared. It counts the start of the processes, too.
    """

    whole: float
    steady: float
    cpu_s: float


def make_series(folder: Path, n_series: int, n_slices: int) -> list[Path]:
    """Write series of `n_slices` planes (z, y, x), int16, as NIfTI."""
    slices = [formats.read(path) for path in sorted(SAMPLE.iterdir())]
    planes = np.stack([slices[number % len(slices)].pixels.squeeze() for number in range(n_slices)])
    affine = np.diag([5.0, -0.7, -0.7, 1.0])[[2, 1, 0, 3]]  # from (z, y, x) to right, anterior, superior
    paths = []
    for number in range(n_series):
        noise = np.random.default_rng(number).integers(-15, 15, planes.shape)
        pixels = (planes + noise).astype(np.int16)
        image = Image(pixels, "ZYX", (5.0, 0.7, 0.7), affine=affine, units="HU", name=f"s{number}", modality="CT")
        paths.append(folder / f"s{number}.nii.gz")
        formats.write_image(paths[-1], image)
    return paths


def call(paths: list[Path], out: Path, *options: str) -> list[str]:
    """Return the words of `medseg predict`."""
    words = [str(path) for path in paths]
    return [
        sys.executable,
        "-m",
        "napari_medseg",
        "predict",
        *words,
        "-o",
        str(out),
        "--device",
        "cpu",
        *OPTIONS,
        *options,
    ]


def run_independently(paths: list[Path], folder: Path) -> Pace:
    """Run one process on each core, each with its share of the series."""
    began, spent, outs = time.time(), get_cpu_s(), [folder / f"own{number}" for number in range(N_CORES)]
    cores = sorted(os.sched_getaffinity(0))[:N_CORES]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            ["taskset", "-c", str(core), *call(paths[number::N_CORES], out)],
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        for number, (core, out) in enumerate(zip(cores, outs, strict=True))
    ]
    if any(process.wait() for process in processes):
        raise SystemExit("an independent run failed")
    ended = time.time()
    steady = sum(measure_steady(list_times(out), 1) for out in outs)
    return Pace(len(paths) / (ended - began), steady, (get_cpu_s() - spent) / len(paths))


def run_on_workers(paths: list[Path], folder: Path) -> Pace:
    """Run the same series on as many workers as cores."""
    out, began, spent = folder / "workers", time.time(), get_cpu_s()
    subprocess.run(call(paths, out, "--workers", str(N_CORES)), stdout=subprocess.DEVNULL, check=True)
    whole, steady = len(paths) / (time.time() - began), measure_steady(list_times(out), N_CORES)
    return Pace(whole, steady, (get_cpu_s() - spent) / len(paths))


def get_cpu_s() -> float:
    """Return the seconds of the processor that all ended processes of this one took, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def list_times(out: Path) -> list[float]:
    """Return when the label files were written, in order."""
    return sorted(path.stat().st_mtime for path in out.glob("*_labels.nii.gz"))


def measure_steady(times: list[float], n_first: int) -> float:
    """Return the series a second after the first `n_first` were written."""
    return (len(times) - n_first) / max(1e-9, times[-1] - times[n_first - 1])


def measure_task(path: Path) -> dict[str, float]:
    """Return the seconds of the parts of one task on one thread: reading, prediction, writing."""
    import torch

    from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
    from napari_medseg.inference.predictor import Predictor

    torch.set_num_threads(1)
    models = ModelRegistry(BUNDLED_MODELS, BUNDLED_MODELS)
    predictor = Predictor.load(models.get_folder(models.get_live_id("lungs")), "cpu")
    predictor.predict_labels(formats.read(path))  # warm
    began = time.process_time()
    image = formats.read(path)
    _ = image.content_hash
    read = time.process_time()
    labels = predictor.predict_labels(image)
    predicted = time.process_time()
    formats.write_labels(path.parent / "written.nii.gz", labels, image)
    return {
        "read_cpu_s": read - began,
        "predict_cpu_s": predicted - read,
        "write_cpu_s": time.process_time() - predicted,
        "MB_raw": image.pixels.nbytes / 1e6,
        "slices": float(len(image.pixels)),
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=40)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=200.0, help="no round begins that would end later")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="medseg-cluster-"))
    try:
        paths = make_series(folder, options.series, options.slices)
        rounds = []
        began = time.monotonic()
        for number in range(options.rounds):
            if number and (time.monotonic() - began) * (number + 1) / number > options.seconds:
                break
            load = os.getloadavg()[0]
            own = run_independently(paths, folder / f"own-{number}")
            workers = run_on_workers(paths, folder / f"workers-{number}")
            found = {"load_before": load, "independent": asdict(own), "workers": asdict(workers)}
            found |= {"ratio_whole": workers.whole / own.whole, "ratio_steady": workers.steady / own.steady}
            found["ratio_cpu"] = own.cpu_s / workers.cpu_s
            print(json.dumps(found), flush=True)
            rounds.append(found)
        result = {"series": options.series, "slices": options.slices, "rounds": rounds, "task": measure_task(paths[0])}
        result |= {name: float(np.mean([one[name] for one in rounds])) for name in RATIOS}
        text = json.dumps(result, indent=1)
        print(text)
        if options.out is not None:
            options.out.write_text(text + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
