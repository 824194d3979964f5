"""Provenance of a run: `environment.json` and `split.json` in its folder. No host name, user name or paths."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.run_folder import ENVIRONMENT_FILE, SPLIT_FILE
from training.run_setup import SnapshotSplit, TrainingSetup

PACKAGES = (
    "imagecodecs",
    "monai",
    "nibabel",
    "numpy",
    "pydantic",
    "pydicom",
    "safetensors",
    "scikit-image",
    "scipy",
    "segmentation-models-pytorch",
    "tifffile",
    "timm",
    "torch",
    "torchvision",
)


def write_provenance(setup: TrainingSetup) -> None:
    """Write environment and split of the run; a run resumed on another machine overwrites the environment."""
    _write_json(setup.run_dir / ENVIRONMENT_FILE, collect_environment(setup))
    _write_json(setup.run_dir / SPLIT_FILE, describe_split(setup.split))


def collect_environment(setup: TrainingSetup) -> dict[str, Any]:
    """Return the code version, packages and machine properties that can change a result."""
    device = setup.learner.device
    return {
        "code": get_code_version(),
        "seed": setup.recipe.run.seed,
        "snapshot_sha256": setup.snapshot.sha256,
        "base": setup.base.id,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "processes": setup.rank_context.size,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := _get_package_version(name))},
    }


def describe_split(split: SnapshotSplit) -> dict[str, list[dict[str, str]]]:
    """Return name, group and source of the snapshot's items for each part of the split."""
    parts = {"train": split.train, "replay": split.replay, "validate": split.validate, "hold_out": split.hold_out}
    if split.unlabelled:
        parts["unlabelled"] = split.unlabelled
    return {
        part: [{"name": item.name, "group": item.group, "source": item.source} for item in items]
        for part, items in parts.items()
    }


def get_code_version() -> str:
    """Return the package's version; in a checkout with the commit, and with ``+changed`` if files are modified."""
    version = importlib.metadata.version("napari-medseg")
    commit = _run_git("rev-parse", "--short", "HEAD")
    if not commit:
        return version
    return f"{version}+{commit}" + ("+changed" if _run_git("status", "--porcelain", "--untracked-files=no") else "")


def _run_git(*words: str) -> str:
    try:
        answer = subprocess.run(
            ["git", *words],
            cwd=Path(__file__).parent,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _get_package_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
