"""Pack the packages that a machine with torch but without a network lacks into one file: `.carry/site.tar.xz`.

pip downloads the wheels, in the versions of this environment. Tests, type stubs and installation records are left out.
Two large packages are replaced by empty stand-ins, because nothing here needs them: kornia uses kornia_rs only to read
image files, and for the bundled samples tifffile can decode without imagecodecs.

    python benchmarks/pack_wheels.py --python 3.12
"""

import argparse
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

PROGRAM = "napari-medseg"
PACKAGES = (
    "annotated-types",
    "kornia",
    "monai",
    "nibabel",
    "psygnal",
    "pydantic",
    "pydantic-core",
    "pydicom",
    "pylibjpeg",
    "pylibjpeg-openjpeg",
    "segmentation-models-pytorch",
    "typing-inspection",
)
STAND_INS = {
    "kornia_rs": "io = None\n",
    "imagecodecs": "from tifffile._imagecodecs import *\n",
}
LEFT_OUT = ("*/tests/*", "*.pyi", "*.dist-info/licenses/*", "pydicom/data/*_files/*")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")
TARGET = Path(__file__).parents[1] / ".carry" / "site.tar.xz"


def main(arguments: Sequence[str] | None = None) -> int:
    """Download, unpack, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="version of the machine's Python")
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        wheels, site = Path(work, "wheels"), Path(work, "site")
        download_wheels(wheels, options.python)
        unpack_wheels(wheels.glob("*.whl"), site)
        pack_site(site, options.target)
    print(f"{options.target}: {options.target.stat().st_size / 2**20:.1f} MiB")
    return 0


def download_wheels(folder: Path, python: str) -> None:
    """Have pip download the wheels for a Linux machine with an x86-64 processor and that version of Python."""
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES]
    platforms = [word for platform in PLATFORMS for word in ("--platform", f"{platform}_x86_64")]
    pip = [sys.executable, "-m", "pip"] if shutil.which("pip") is None else ["pip"]
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", python, *platforms, "--dest", str(folder), *wanted]
    subprocess.run(command, check=True)


def unpack_wheels(wheels: Iterable[Path], site: Path) -> None:
    """Unpack wheels into one folder, without what is left out; add the stand-ins and the program's version."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            kept = [name for name in archive.namelist() if not is_left_out(name)]
            archive.extractall(site, kept)
    for name, source in STAND_INS.items():
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(source, encoding="utf-8")
    version = importlib.metadata.version(PROGRAM)  # the tree is not installed there, but a run writes its version down
    metadata = site / f"{PROGRAM.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {PROGRAM}\nVersion: {version}\n", encoding="utf-8")


def is_left_out(name: str) -> bool:
    """Whether a file of a wheel is not needed to run it; `name` is its path in the wheel."""
    return any(fnmatch(name, pattern) for pattern in LEFT_OUT)


def pack_site(site: Path, target: Path) -> None:
    """Write a folder's contents as a tar file that xz compressed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(site.iterdir()):
            archive.add(path, path.name)


if __name__ == "__main__":
    sys.exit(main())
