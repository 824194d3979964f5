"""Damaged files: no traceback, no crash, nothing over ten seconds or 1 GiB, no silent change under a checksum."""

import json
import random
from collections.abc import Callable

import mutations
import pytest
from fuzzing import Family, FamilyResult, fuzz

FORMATS = ("dicom", "dicom-series", "nifti", "nifti-gz", "tiff", "png", "jpeg", "outlines")
VOLUMES = ("itk", "several-volumes", "arrays", "pictures", "nifti-parts", "archives", "dicom-variants", "dicom-labels")
OWN = ("database", "project-files", "journal", "registry", "runs", "exports", "benchmark", "checkpoint", "weights")
N_LONG = 10_000


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("names", "n_short"), [(FORMATS, 60), (VOLUMES, 40), (OWN, 40)], ids=["formats", "volumes", "own files"]
)
def test_damaged_files_are_read_reported_or_refused(
    names: tuple[str, ...], n_short: int, run_script: Callable[..., str], is_long: bool, is_complete: bool
) -> None:
    n = N_LONG if is_long else n_short
    table = run_script("long_run.py", "--n", n, "--families", *names)
    for name in names:
        assert f"| {name} | {n:,} |" in table or (f"| {name} |" in table and not is_complete)


def test_the_same_number_makes_the_same_damage_and_each_kind_occurs() -> None:
    content = json.dumps({"a": [1, {"b": "text"}]}).encode() * 1
    made = [mutations.mutate(content, random.Random(f"1/{number}")) for number in range(500)]
    assert made == [mutations.mutate(content, random.Random(f"1/{number}")) for number in range(500)]
    kinds = {kind for kind, _ in made}
    assert kinds == {kind.__name__ for kind in (*mutations.ANY_FILE, *mutations.JSON_ONLY)}
    assert sum(damaged != content for _, damaged in made) > 450


def crash(folder: object, target: object) -> None:
    import os

    os.kill(os.getpid(), 9)


def hang(folder: object, target: object) -> None:
    while True:
        pass


def fill_memory(folder: object, target: object) -> None:
    _ = bytearray(5 << 30)


def trace_back(folder: object, target: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(crash, "crash"), (hang, "hang"), (fill_memory, "memory"), (trace_back, "traceback"), (None, "silent change")],
)
def test_each_kind_of_fault_is_found(
    fault: Callable[..., None] | None, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    import fuzzing

    monkeypatch.setattr(fuzzing, "LONGEST_S", 0.3)

    def make(folder: Path) -> list[Path]:
        (folder / "a.bin").write_bytes(b"intact" * 50)
        return [Path("a.bin")]

    def use(folder: Path, target: Path) -> bytes:
        content = (folder / target).read_bytes()
        if content != b"intact" * 50 and fault is not None:
            fault(folder, target)
        return content

    result = FamilyResult("faulty", 1)
    for _ in fuzz(Family("faulty", make, use, has_checksum=lambda path: True), 3, 1, result):
        pass
    assert result.done == 3
    assert result.outcomes[outcome] >= 2, result
