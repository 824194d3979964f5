"""The law of the layers, seen from outside: what an import costs, and that the manifest names only what is there."""

import importlib
import subprocess
import sys
from pathlib import Path

import npe2
import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "napari_medseg"


def modules_after(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after the statement."""
    program = f"{statement}\nimport sys\nsys.stdout.write('\\n'.join(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return set(answer.stdout.split("\n"))


@pytest.mark.parametrize(
    "module",
    [
        "napari_medseg.plugin.main_widget",
        "napari_medseg.plugin.reader_writer",
        "napari_medseg.cli.main",
        "training.recipe",
    ],
)
def test_import_loads_no_torch(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert module in loaded
    assert not loaded & {"torch", "torchvision", "segmentation_models_pytorch", "monai", "kornia"}


@pytest.mark.parametrize("module", ["napari_medseg.workflow.workspace", "napari_medseg.workflow.retrain"])
def test_headless_workflow_loads_no_window(module: str) -> None:
    assert not modules_after(f"import {module}") & {"napari", "qtpy", "PyQt6", "magicgui", "torch"}


def test_the_project_on_disk_opens_without_the_readers_of_images() -> None:
    names = [path.stem for path in (PACKAGE / "core" / "project").glob("*.py") if path.stem != "__init__"]
    modules = {"napari_medseg.core.project", *(f"napari_medseg.core.project.{name}" for name in names)}
    assert {"database", "lock", "case_files", "stroke_journal", "review_region_files"} <= set(names)
    loaded = modules_after(f"import {', '.join(sorted(modules))}")
    assert modules <= loaded
    assert not loaded & {"pydicom", "nibabel", "tifffile", "imagecodecs", "PIL", "skimage", "scipy", "torch"}


@pytest.mark.parametrize("package", ["napari_medseg", "training"])
def test_package_holds_a_docstring_and_nothing_else(package: str) -> None:
    source = (PACKAGE.parent / package / "__init__.py").read_text(encoding="utf-8").strip()
    assert source.startswith('"""')
    assert source.endswith('"""')
    assert source.count('"""') == 2


def test_manifest_is_valid_and_every_python_name_imports() -> None:
    manifest = npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")
    names = [command.python_name for command in manifest.contributions.commands or [] if command.python_name]
    assert names
    for name in names:
        module, attribute = name.split(":")
        assert module.startswith("napari_medseg.plugin."), f"{name}: the manifest names only plugin/*"
        assert callable(getattr(importlib.import_module(module), attribute))


def test_house_style_of_file_lengths() -> None:
    long = [
        f"{path.relative_to(PACKAGE.parent)}: {lines} lines"
        for folder in (PACKAGE, PACKAGE.parent / "training")
        for path in folder.rglob("*.py")
        if (lines := path.read_text(encoding="utf-8").count("\n")) > 300
    ]
    assert not long, long
