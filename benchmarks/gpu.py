"""All checks of a GPU in one command of under 8 minutes: agreement with the CPU, speed, memory, retraining.

Nothing is downloaded. The machine must have torch, torchvision, timm, scikit-image, tifffile, safetensors, psutil and
rich. The other packages (`PACKAGES` of `pack_wheels.py`) come from one file of 7 MB, `.carry/site.tar.xz`, which git
ignores; with the tree of 54 MiB that is less than 64 MiB. Make this file on a machine with a network connection:

    python benchmarks/pack_wheels.py --python 3.12

On the machine with the GPU, in the root of the tree:

    mkdir /tmp/site && tar -xJf .carry/site.tar.xz -C /tmp/site && export PYTHONPATH=/tmp/site:$PWD
    python3 benchmarks/gpu.py --out gpu.json

The table and the JSON give every figure with its limit. The exit code is 1 if a figure misses its limit or a part
raises an error; the other parts continue. No GPU has run it yet, so the limits of time and memory are estimates; set
them after the first run. In bf16 on a CPU, 99.80 % of the pixels of nuclei-unet@1 and 99.88 % of instruments-unet@1 are
the same as in fp32 (fp16: 99.94 % and 99.99 %), so these two may miss the limit of 99.9 % on a GPU as well.

On a CPU it runs the same checks with small sizes, as a test of the script; checks that need a GPU report "not run: no
GPU".
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_checks import check_agreement, check_out_of_memory, check_predictor_memory, check_speed
from gpu_figures import NO_TIME, Bench, Part, PartResult, Sizes, make_report, print_results, run_part
from gpu_processes import check_engine_and_retrain, check_retrain
from rich.console import Console

from napari_medseg.inference.device import choose_device

LIMIT_S = 450.0
PACKAGES = ("kornia", "monai", "numpy", "pydantic", "segmentation-models-pytorch", "timm", "torch", "torchvision")
FULL = Sizes()
SMALL = Sizes(
    n_images=1,
    n_planes=1,
    side=1,
    repeats=1,
    models=("lungs-unet@4",),
    shortages=(0.2,),
    retrain_s=600.0,
    profile_s=0.0,
    recipe={
        "schedule": {"n_epochs": 2, "steps_per_epoch": 1},
        "data": {"patch_px": 64, "batch_size": 2},
        "run": {"precision": "fp32"},
    },
)
PARTS: dict[str, Part] = {
    "labels as on the CPU": check_agreement,
    "speed": check_speed,
    "out of memory": check_out_of_memory,
    "memory given back": check_predictor_memory,
    "retrain": check_retrain,
    "engine and retrain at once": check_engine_and_retrain,
}


def main(arguments: Sequence[str] | None = None, parts: Mapping[str, Part] = PARTS) -> int:
    """Run the parts and report them; return 0 if all figures are within their limits, else 1."""
    options = _parse_arguments(arguments)
    began = time.monotonic()
    device = choose_device(options.device).type
    limit_s = options.limit_s or (LIMIT_S if device == "cuda" else math.inf)
    chosen = {name: part for name, part in parts.items() if not options.only or name in options.only}
    results = []
    with tempfile.TemporaryDirectory() as work:
        for name, part in chosen.items():
            if time.monotonic() - began > limit_s:
                results.append(PartResult(name, NO_TIME, 0.0))
                continue
            place = Bench(device, FULL if device == "cuda" else SMALL, Path(work) / name.replace(" ", "-"))
            results.append(run_part(name, part, place))
            print(f"{name}: {results[-1].state}, {results[-1].seconds:.0f} s", flush=True)
    print_results(results, Console(width=options.width))
    report = make_report(results, {"seconds": time.monotonic() - began, **describe_machine(device)})
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if report["passed"] else 1


def describe_machine(device: str) -> dict[str, Any]:
    """Return the device, its memory in bytes, the processors and the versions of what can change a result."""
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return {
        "device": device,
        "gpu": None if gpu is None else gpu.name,
        "gpu_bytes": None if gpu is None else gpu.total_memory,
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU if there is one")
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--limit-s", type=float, help=f"no part begins after so many seconds; {LIMIT_S:.0f} on a GPU")
    parser.add_argument("--width", type=int, default=160, help="of the table, in characters")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
