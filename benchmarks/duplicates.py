"""How often the search for copies is wrong: false alarms between patients, and changed copies that are missed.

All pairs of images of different groups (patients, slides, videos) are compared in both directions; and changed copies
of some images with all images of their set. Neighbouring slices of one patient should be called the same place.

    python benchmarks/duplicates.py --data DATA --out duplicates.json
"""

import argparse
import csv
import json
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.quality.image_fingerprint import Fingerprint, compute_fingerprint
from napari_medseg.core.quality.shared_content import Likeness, SharedContent, find_shared_content

SETS: dict[str, tuple[str, str]] = {
    "CT slices (ct20)": ("covid/ct20/images", "covid/ct20/index.csv:group"),
    "chest X-rays": ("lungs/xray_kermany/images", "lungs/xray_kermany/index.csv:patient"),
    "nuclei (DSB 2018)": ("nuclei/dsb2018/images", ""),
    "H&E slides (MoNuSeg)": ("nuclei/monuseg/images", ""),
    "instruments": ("instruments/images", "instruments/index.csv:group"),
    "laparoscopy": ("instruments/unlabelled_laparoscopy", ""),
}
"""Folder of each set, and the file and column with the groups; without one, `core.grouping.groups` finds them."""
NEIGHBOURS = {
    "one CT in HU, 5 mm apart": "lungs/lung_pet_ct_dx_A0001/dicom",
    "one CT of 8 bits, every third slice": "lungs/lidc_one_patient/images",
}
N_CHANGED = 24
Change = Callable[[Picture.Image], Picture.Image]


def compress(picture: Picture.Image, quality: int) -> Picture.Image:
    """Save as JPEG and read it again."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Picture.open(file)


def shift(picture: Picture.Image, by_px: int) -> Picture.Image:
    """Move down and right; what is uncovered is black."""
    return picture.transform(picture.size, Picture.Transform.AFFINE, (1, 0, -by_px, 0, 1, -by_px))


def crop(picture: Picture.Image, by_px: int) -> Picture.Image:
    """Cut off each edge."""
    return picture.crop((by_px, by_px, picture.width - by_px, picture.height - by_px))


def resize(picture: Picture.Image, factor: float) -> Picture.Image:
    """Change the size."""
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Picture.Resampling.BICUBIC)


def turn(picture: Picture.Image, degrees: float) -> Picture.Image:
    """Rotate; the corners are black."""
    return picture.rotate(degrees, Picture.Resampling.BICUBIC)


def mirror(picture: Picture.Image) -> Picture.Image:
    """Exchange left and right."""
    return picture.transpose(Picture.Transpose.FLIP_LEFT_RIGHT)


CHANGES: dict[str, Change] = {
    "the same file": lambda picture: picture,
    "JPEG, quality 75": lambda picture: compress(picture, 75),
    "JPEG, quality 50": lambda picture: compress(picture, 50),
    "shift by 4 px": lambda picture: shift(picture, 4),
    "shift by 16 px": lambda picture: shift(picture, 16),
    "crop of 10 px": lambda picture: crop(picture, 10),
    "crop of a tenth": lambda picture: crop(picture, min(picture.size) // 10),
    "mirror": mirror,
    "half the size": lambda picture: resize(picture, 0.5),
    "twice the size": lambda picture: resize(picture, 2.0),
    "256 x 256": lambda picture: picture.resize((256, 256), Picture.Resampling.BICUBIC),
    "turn by 5 degrees": lambda picture: turn(picture, 5),
    "turn by 10 degrees": lambda picture: turn(picture, 10),
    "gamma 0.6": lambda picture: picture.point(
        [round(255 * (value / 255) ** 0.6) for value in range(256)] * len(picture.getbands())
    ),
    "all: 5 degrees, crop, mirror, 0.7, JPEG": lambda picture: compress(
        resize(mirror(crop(turn(picture, 5), 10)), 0.7), 75
    ),
}


def main() -> int:
    """Measure, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=1, help="use one image in so many of the two large sets")
    options = parser.parse_args()
    alarms, changed = [], []
    for name, (folder, index) in SETS.items():
        images = read_set(options.data / folder, index and str(options.data / index))
        images = images[:: options.every] if len(images) > 200 else images
        began = time.process_time()
        prints = [compute_fingerprint(image) for image in images]
        fingerprint_ms = 1000 * (time.process_time() - began) / len(images)
        alarms.append({"set": name, "ms": fingerprint_ms} | count_false_alarms(images, prints))
        print(json.dumps(alarms[-1]), flush=True)
        changed.append({"set": name} | count_found_copies(images, prints))
        print(json.dumps(changed[-1]), flush=True)
    beside = {name: count_neighbours(options.data / folder) for name, folder in NEIGHBOURS.items()}
    print(json.dumps(beside))
    print_tables(alarms, changed)
    if options.out:
        document = {"false_alarms": alarms, "changed_copies": changed, "neighbours": beside}
        options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def read_set(folder: Path, index: str) -> list[Image]:
    """Read the images of a folder with their groups."""
    group_of: dict[str, str] = {}
    if index:
        file, _, column = index.partition(":")
        with Path(file).open(newline="", encoding="utf-8") as rows:
            group_of = {row["name"]: row[column] for row in csv.DictReader(rows)}
    images = [formats.read(path) for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg")]
    return [replace(image, group=group_of.get(image.name, image.group)) for image in images]


def count_false_alarms(images: list[Image], prints: list[Fingerprint]) -> dict[str, Any]:
    """Compare all images; count the pairs of different groups that are called alike."""
    groups = [image.group for image in images]
    n_pairs = sum(one != other for at, one in enumerate(groups) for other in groups[:at])
    began = time.process_time()
    found = find_shared_content(prints, prints)
    pair_ms = 1000 * (time.process_time() - began) / len(prints) ** 2
    alike = {tuple(sorted((one.one, one.other))): one for one in found if groups[one.one] != groups[one.other]}
    named = [
        (images[at[0]].name, images[at[1]].name, one.likeness, round(one.similarity, 2)) for at, one in alike.items()
    ]
    return {
        "images": len(images),
        "groups": len(set(groups)),
        "pairs": n_pairs,
        "copies": sum(one.is_copy for one in alike.values()),
        "same_place": sum(not one.is_copy for one in alike.values()),
        "images_in_an_alarm": len({at for pair in alike for at in pair}),
        "pair_ms": pair_ms,
        "alarms": named[:20],
    }


def count_found_copies(images: list[Image], prints: list[Fingerprint]) -> dict[str, Any]:
    """Change some images and look for the original; return the share called a copy, and the share found at all."""
    chosen = np.unique(np.linspace(0, len(images) - 1, N_CHANGED).round().astype(int))
    result = {}
    for name, change in CHANGES.items():
        of_own: list[SharedContent] = []
        for at in chosen:
            pixels = np.asarray(change(Picture.fromarray(images[at].pixels)))
            copy = compute_fingerprint(Image(pixels, "YXC" if pixels.ndim == 3 else "YX"))
            of_own += find_shared_content([copy], [prints[at]])
        copies = sum(one.is_copy for one in of_own)
        result[name] = [copies / len(chosen), len(of_own) / len(chosen)]
    return result


def count_neighbours(folder: Path) -> dict[str, float]:
    """Return the share of neighbouring slices that are called copies, the same place, or nothing."""
    prints = [compute_fingerprint(formats.read(path)) for path in sorted(folder.iterdir())]
    found = [find_shared_content([one], [other]) for one, other in pairwise(prints)]
    kinds = [each[0].likeness if each else None for each in found]
    return {
        "pairs": len(kinds),
        "copy": np.mean([kind in (Likeness.COPY, Likeness.IDENTICAL) for kind in kinds]),
        "same_place": np.mean([kind is Likeness.SAME_PLACE for kind in kinds]),
    }


def print_tables(alarms: list[dict[str, Any]], changed: list[dict[str, Any]]) -> None:
    """Print the tables of docs/retraining.md."""
    print("| images | number, groups | pairs of different groups | called a copy | called the same place |")
    print("|---|---|---|---|---|")
    for row in alarms:
        counts = (f"{row['images']}, {row['groups']}", f"{row['pairs']:,}", row["copies"], row["same_place"])
        print(f"| {row['set']} | {' | '.join(map(str, counts))} |")
    print("| change | " + " | ".join(row["set"] for row in changed) + " |")
    print("|---|" + "---|" * len(changed))
    for name in CHANGES:
        cells = [f"{row[name][0]:.0%} / {row[name][1]:.0%}" for row in changed]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    raise SystemExit(main())
