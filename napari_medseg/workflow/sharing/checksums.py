"""`SHA256SUMS`: checksums of the files of a folder, as `sha256sum --check` reads them."""

from collections.abc import Iterable
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256

CHECKSUMS_FILE = "SHA256SUMS"


def write_checksums(folder: Path, files: Iterable[Path]) -> Path:
    """Write the checksums of files in a folder, sorted by name, and return the path of the list."""
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    lines = [f"{compute_file_sha256(folder / name)}  {name}\n" for name in names]
    atomic_write_text(folder / CHECKSUMS_FILE, "".join(lines))
    return folder / CHECKSUMS_FILE
