"""What travels to a machine without a network: wheels without what nothing runs, and stand-ins for two large ones."""

import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pack_wheels
import tifffile

ROOT = Path(pack_wheels.__file__).parents[1]


def test_wheels_become_one_small_file_without_tests_and_stubs(tmp_path: Path) -> None:
    wheel = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("a/__init__.py", "a/tests/test_a.py", "a/b.pyi", "a/data/x.txt", "a-1.dist-info/METADATA"):
            archive.writestr(name, "x = 1\n")
    pack_wheels.unpack_wheels([wheel], tmp_path / "site")
    pack_wheels.pack_site(tmp_path / "site", tmp_path / "carry" / "site.tar.xz")
    with tarfile.open(tmp_path / "carry" / "site.tar.xz") as packed:
        names = {member.name for member in packed if member.isfile()}
    assert names == {
        "a/__init__.py",
        "a/data/x.txt",
        "a-1.dist-info/METADATA",
        "imagecodecs/__init__.py",
        "kornia_rs/__init__.py",
        f"napari_medseg-{version('napari-medseg')}.dist-info/METADATA",
    }


def test_with_the_stand_ins_tifffile_and_kornia_still_work(tmp_path: Path) -> None:
    pack_wheels.unpack_wheels([], tmp_path / "site")
    labels = ROOT / "napari_medseg" / "samples" / "ct_a0001" / "labels" / "A0001_z007.tif"
    program = (
        "import kornia.enhance, kornia_rs, imagecodecs, sys, tifffile\n"
        f"assert kornia_rs.__file__.startswith({str(tmp_path)!r}), kornia_rs.__file__\n"
        f"assert imagecodecs.__file__.startswith({str(tmp_path)!r}), imagecodecs.__file__\n"
        f"sys.stdout.write(str(tifffile.imread({str(labels)!r}).sum()))\n"
    )
    paths = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
    answer = subprocess.run([sys.executable, "-c", paths + program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) == tifffile.imread(labels).sum() > 0
