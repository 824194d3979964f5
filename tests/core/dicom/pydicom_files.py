"""pydicom's own test files as read or refused, for `docs/formats.md`.

python tests/core/dicom/pydicom_files.py docs/formats.md     # writes the table anew
"""

import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pydicom.data

from napari_medseg.core import formats
from napari_medseg.core.dicom_labels.reader import LABEL_CLASSES, find_label_class
from napari_medseg.core.errors import MedSegError

ROOT = Path(pydicom.data.__file__).parent
NO_FILES = (".py", ".pyc", ".md", ".txt", ".json", ".rst")
BEGIN, END = "<!-- pydicom's test files: made by tests/core/dicom/pydicom_files.py -->", "<!-- end -->"
KINDS = {"YX": "a plane", "ZYX": "a volume", "YXC": "a picture in colour", "ZYXC": "a stack of pictures in colour"}


def list_files() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*")) if path.is_file() and path.suffix not in NO_FILES]


def describe(path: Path) -> str:
    """Return what becomes of a file when it is opened."""
    if find_label_class(path) in LABEL_CLASSES:
        return "as a mask of its series"
    found = formats.search_images(path)
    read = [describe_source(source) for source in found.sources]
    if len(read) == 1:
        return read[0]
    counts = Counter("read" if outcome.startswith("read") else "refused" for outcome in read)
    return f"lists {len(read)} images: {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}"


def describe_source(source: formats.ImageSource) -> str:
    try:
        image = formats.read_source(source)
    except MedSegError as error:
        reason = re.sub(r"[\d,]*\d x [\d,]*\d", "N x N", str(error).replace(source.paths[0].name, "it"))
        return f"refused: {re.split(r'[.;] | - ', reason)[0].rstrip('.')}"
    units = {"HU": " in HU", "grey": "", "rgb": ""}
    return f"read as {KINDS[image.axes]}{units[image.units]}"


def make_table() -> Iterator[str]:
    """Yield the lines of the table: what becomes of files, and which they are."""
    by_folder: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in list_files():
        by_folder[describe(path), path.parent.relative_to(ROOT).as_posix()].append(path.name)
    whole = {folder for _, folder in by_folder if sum(other == folder for _, other in by_folder) == 1}
    by_outcome: dict[str, list[str]] = defaultdict(list)
    for (outcome, folder), names in by_folder.items():
        listed = [f"`{folder}/*` ({len(names)})"] if folder in whole and len(names) > 2 else [f"`{n}`" for n in names]
        by_outcome[outcome] += listed
    yield "| what happens | files |"
    yield "|---|---|"
    for outcome, names in sorted(by_outcome.items()):
        yield f"| {outcome} | {', '.join(names)} |"


def get_table(text: str) -> list[str]:
    """Return the lines of the table in a page."""
    return text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    page = Path(sys.argv[1])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    table = "\n".join(make_table())
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
