"""What a window needs that leaves computing to a server, from the requirements of the program."""

import tomllib
from pathlib import Path

from napari_medseg.core.errors import explain
from napari_medseg.window_requirements import COMPUTING_MODULES, list_window_requirements

ROOT = Path(__file__).parents[1]


def read_requirements() -> list[str]:
    """As `importlib.metadata.requires` gives them for a wheel made of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        for line in requirements:
            name, _, marker = line.partition(";")
            conditions = f"{marker.strip()} and extra == '{extra}'" if marker else f"extra == '{extra}'"
            lines.append(f"{name.strip()}; {conditions}")
    return lines


def test_the_list_has_all_but_what_computes_and_the_readers_of_all() -> None:
    listed = list_window_requirements(read_requirements())
    names = {line.split("[")[0].split(">")[0].split("<")[0].strip() for line in listed}
    assert not names & {name.replace("_", "-") for name in COMPUTING_MODULES}
    assert {"napari", "pydantic", "safetensors", "scikit-image", "websockets", "openslide-python", "av"} <= names
    assert "napari[pyqt6]>=0.9,<0.10" in listed
    assert not any("extra" in line or "napari-medseg" in line or line.startswith("pytest") for line in listed)


def test_markers_of_systems_stay() -> None:
    lines = [
        'a>=1; python_version < "3.14" and extra == "all"',
        "b; sys_platform == 'win32'",
        "torch>=2",
        'c; extra == "x"',
    ]
    assert list_window_requirements(lines) == ['a>=1; python_version < "3.14"', "b; sys_platform == 'win32'"]


def test_a_missing_torch_is_said_with_what_to_do() -> None:
    for name in ("torch", "monai.losses", "segmentation_models_pytorch"):
        message = str(explain(ModuleNotFoundError(f"No module named {name!r}", name=name)))
        assert "torch is not installed here" in message
        assert "--device remote" in message
    assert "install napari-medseg again" in str(explain(ModuleNotFoundError("No module named 'zarr'", name="zarr")))
