"""Measure how often the look of an image is told right: grey, stained or endoscopic.

Every second group, a patient, slide, video or operation, belongs to the half on which the limits were chosen.

`python benchmarks/image_kinds.py SHARED_DATA`
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.tasks.detection import detect_look

SUFFIXES = (".png", ".jpg", ".jpeg")
SETS: tuple[tuple[str, str, str], ...] = (
    ("nuclei/monuseg/images", "MoNuSeg", "stained"),
    ("nuclei/monusac/images", "MoNuSAC", "stained"),
    ("nuclei/dsb2018/images", "DSB 2018, stained tissue", "stained"),
    ("instruments/images", "instruments", "endoscopic"),
    ("instruments/unlabelled_laparoscopy", "laparoscopy without labels", "endoscopic"),
    ("larynx/images", "larynx (one patient)", "endoscopic"),
    ("lungs/xray_kermany/images", "chest X-rays", "grey"),
    ("covid/ct20/images", "CT slices of COVID patients", "grey"),
    ("covid/medseg/images", "CT slices of medicalsegmentation.com", "grey"),
)
"""Folder, name, and the right answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of `docs/list.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the images of several kinds")
    data = parser.parse_args(arguments).data
    lines = ["| images | are | half of the choice | other half | taken for |", "|---|---|---|---|---|"]
    for folder, name, look in SETS:
        files = [path for path in sorted((data / folder).iterdir()) if path.suffix in SUFFIXES]
        lines.append(f"| {name} | {look} | {' | '.join(count_right(files, read_groups(data / folder), look))} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def read_groups(folder: Path) -> dict[str, str]:
    """Return the video or scene of each image by name, if an index beside the folder says it."""
    index = folder.parent / "index.csv"
    if not index.is_file():
        return {}
    with index.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row["group"] for row in csv.DictReader(file) if "group" in row}


def count_right(files: Sequence[Path], groups: dict[str, str], look: str) -> tuple[str, str, str]:
    """Return right answers of all in both halves of the groups, and what the wrong ones were taken for."""
    named = {
        path: groups.get(path.stem, path.stem.split("-")[0] if "frame" in path.stem else path.stem) for path in files
    }
    places = {group: place for place, group in enumerate(sorted(set(named.values())))}
    right, of, wrong = Counter[int](), Counter[int](), Counter[str]()
    for path in files:
        half, found = places[named[path]] % 2, detect_look(formats.read(path))
        of[half] += 1
        right[half] += found == look
        wrong.update([found] * (found != look))
    taken = ", ".join(f"{n} {found}" for found, n in wrong.items())
    return f"{right[0]} of {of[0]}", f"{right[1]} of {of[1]}", taken


if __name__ == "__main__":
    sys.exit(main())
