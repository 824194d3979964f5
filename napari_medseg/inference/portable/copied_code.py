"""Copies of the files that turn an image into labels, which import nothing of this program.

So the exported model prepares and finishes exactly as this program does: there is one preprocessing.
"""

import ast
from pathlib import Path

import napari_medseg

_MODULES = (
    *("networks.architectures", "networks.ensemble", "networks.fcn_deeplab", "networks.padding", "networks.segnet"),
    *("networks.unets", "inference.accumulator", "inference.case_uncertainty", "inference.connected_parts"),
    *("inference.contrast", "inference.postprocess", "inference.preprocess", "inference.roi", "inference.watershed"),
)
_PACKAGE = "napari_medseg."
PLAIN = "plain"
"""The module that stands for all others."""
_HERE = Path(__file__).parent


def make_copies() -> dict[str, str]:
    """Return the text of each file of the package ``steps`` by its name."""
    sources = Path(napari_medseg.__file__).parent
    copies = {
        f"{module.rpartition('.')[2]}.py": turn_imports((sources / f"{module.replace('.', '/')}.py").read_text("utf-8"))
        for module in _MODULES
    }
    plain = (_HERE / "plain.py.txt").read_text("utf-8")
    helper = _find_function((sources / "core" / "image.py").read_text("utf-8"), "select_measured")
    return {
        "__init__.py": '"""Copied from napari-medseg: from an image to network input, and from logits to labels."""\n',
        "plain.py": plain.rstrip() + "\n\n\n" + helper.replace("NDArray[Any]", "np.ndarray"),
        **copies,
    }


def turn_imports(source: str) -> str:
    """Return a module whose imports of this program are relative: of copied modules, or of `PLAIN`."""
    copied = {module.rpartition(".")[2] for module in _MODULES}
    lines = source.splitlines()
    for node in reversed([node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]):
        if not (node.module or "").startswith(_PACKAGE):
            continue
        names = ", ".join(name.name for name in node.names)
        last = str(node.module).rpartition(".")[2]
        if all(name.name in copied for name in node.names):
            text = f"from . import {names}"
        else:
            text = f"from .{last if last in copied else PLAIN} import {names}"
        assert node.end_lineno is not None
        lines[node.lineno - 1 : node.end_lineno] = [" " * node.col_offset + text]
    return "\n".join(lines) + "\n"


def _find_function(source: str, name: str) -> str:
    found = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name)
    text = ast.get_source_segment(source, found)
    assert text is not None
    return text + "\n"


def read_script(name: str = "predict.py") -> str:
    """Return the text of a script of an export."""
    return (_HERE / f"{name}.txt").read_text("utf-8")
