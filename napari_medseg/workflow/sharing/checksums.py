"""`SHA256SUMS`: checksums of the files of a folder, as `sha256sum --check` reads them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256
from napari_medseg.core.errors import MedSegError

CHECKSUMS_FILE = "SHA256SUMS"


def write_checksums(folder: Path, files: Iterable[Path]) -> Path:
    """Write the checksums of files in a folder, sorted by name, and return the path of the list."""
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    lines = [f"{compute_file_sha256(folder / name)}  {name}\n" for name in names]
    atomic_write_text(folder / CHECKSUMS_FILE, "".join(lines))
    return folder / CHECKSUMS_FILE


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the checksums of a folder by the names of its files, with slashes; none if it has no list."""
    path = folder / CHECKSUMS_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def check_file(folder: Path, name: str, checksums: Mapping[str, str]) -> str:
    """Return the checksum of a file; raise `MedSegError` if it is not the one of the list, or no list has it."""
    digest = compute_file_sha256(folder / name)
    if checksums and checksums.get(name) != digest:
        raise MedSegError(
            f"{name} is not the file that {CHECKSUMS_FILE} lists: it is damaged, or was changed. Copy the data set "
            f"again; if you changed it on purpose, remove {CHECKSUMS_FILE}."
        )
    return digest
