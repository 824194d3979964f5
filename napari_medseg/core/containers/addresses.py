"""Addresses of stores on a network, such as ``https://host/slides/a.zarr``, as paths.

A path cannot keep the two slashes of an address: it becomes ``https:/host/slides/a.zarr``, also where a program puts a
folder before it. `find_address` returns the address again.
"""

import re
from pathlib import Path

_SCHEMES = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "ftp", "memory")
_ADDRESS = re.compile(rf"(?:^|.*/)({'|'.join(_SCHEMES)}):/+(.+)")


def find_address(path: Path | str) -> str | None:
    """Return the address that a path stands for; `None` for a path of this computer."""
    found = _ADDRESS.fullmatch(path if isinstance(path, str) else path.as_posix())
    return f"{found[1]}://{found[2]}" if found else None


def format_source(path: Path) -> str:
    """Return a path as a project keeps it: absolute, or an address, which has no folder before it."""
    return str(path.absolute()) if find_address(path) is None else path.as_posix()
