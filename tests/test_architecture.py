"""The architecture, seen from outside: what imports load, the manifest, and the size of folders, files, functions."""

import ast
import importlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import npe2
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "napari_medseg"


def modules_after(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after the statement."""
    program = f"{statement}\nimport sys\nsys.stdout.write('\\n'.join(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return set(answer.stdout.split("\n"))


def test_window_and_command_line_load_no_torch() -> None:
    modules = ["plugin.main_widget", "plugin.reader_writer", "cli.main"]
    wanted = {"training.recipe", *(f"napari_medseg.{module}" for module in modules)}
    loaded = modules_after(f"import {', '.join(sorted(wanted))}")
    assert wanted <= loaded
    assert not loaded & {"torch", "torchvision", "segmentation_models_pytorch", "monai", "kornia"}


def test_headless_workflow_loads_no_window() -> None:
    loaded = modules_after("import napari_medseg.workflow.workspace, napari_medseg.workflow.retrain")
    assert "napari_medseg.workflow.retrain" in loaded
    assert not loaded & {"napari", "qtpy", "PyQt6", "magicgui", "torch"}


def test_the_project_on_disk_opens_without_the_readers_of_images() -> None:
    names = [path.stem for path in (PACKAGE / "core" / "project").glob("*.py") if path.stem != "__init__"]
    modules = {"napari_medseg.core.project", *(f"napari_medseg.core.project.{name}" for name in names)}
    assert {"database", "lock", "case_files", "undo_journal", "review_region"} <= set(names)
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


SOURCE_FOLDERS = ("napari_medseg", "training")
MAX_FILES_IN_FOLDER = 16
MAX_LINES_IN_FILE = 300
MAX_LINES_IN_FUNCTION = 60
MAX_PARAMETERS = 8
MAX_TRACKED_MIB = 56


def list_source_files() -> list[Path]:
    return sorted(path for folder in SOURCE_FOLDERS for path in (ROOT / folder).rglob("*.py"))


def list_functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in list_source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def name_function(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def test_no_folder_has_more_files_than_a_person_can_survey() -> None:
    counts = Counter(path.parent for path in list_source_files())
    assert len(counts) > 10
    assert not [f"{folder.relative_to(ROOT)}: {n} files" for folder, n in counts.items() if n > MAX_FILES_IN_FOLDER]


def test_folders_are_at_most_two_levels_deep() -> None:
    deep = [path for path in list_source_files() if len(path.relative_to(ROOT).parts) > 4]
    assert not deep, deep


def test_no_file_is_too_long() -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in list_source_files()}
    assert not [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > MAX_LINES_IN_FILE]


def test_no_function_is_too_long() -> None:
    lengths = [(name_function(path, node), (node.end_lineno or 0) - node.lineno + 1) for path, node in list_functions()]
    assert len(lengths) > 1000
    assert not [f"{name}: {n} lines" for name, n in lengths if n > MAX_LINES_IN_FUNCTION]


def test_no_function_outside_the_command_line_has_many_parameters() -> None:
    many = []
    for path, node in list_functions():
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        n = sum(argument.arg not in ("self", "cls") for argument in arguments)
        if n > MAX_PARAMETERS and "cli" not in path.relative_to(ROOT).parts:
            many.append(f"{name_function(path, node)}: {n} parameters")
    assert not many, many


def test_the_checkout_stays_small() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("only a git checkout knows which files are tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
    paths = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    mib = sum(path.stat().st_size for path in paths if path.is_file()) / 2**20
    assert 10 < mib <= MAX_TRACKED_MIB
