"""How much memory an image may take: by free memory, by its size on disk, by what a person allows."""

from pathlib import Path

import pytest

from napari_medseg.core.decoded_size import free_memory, limit
from napari_medseg.core.decoded_size.limit import (
    ALWAYS_PLAUSIBLE_BYTES,
    allow_memory,
    compute_limit,
    format_bytes,
    get_max_memory,
    make_memory_arguments,
    parse_size,
    refuse_above_limit,
)
from napari_medseg.core.errors import MedSegError
from training.__main__ import _read_arguments

GB = 10**9


@pytest.fixture
def free_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 GB of free memory."""
    monkeypatch.setattr(limit, "measure_free_bytes", lambda: 16 * GB)


@pytest.mark.parametrize(
    ("disk_bytes", "expected"),
    [(7_000, ALWAYS_PLAUSIBLE_BYTES), (10**7, 2 * GB), (10**9, 4 * GB)],
    ids=["the floor", "200 times", "a quarter of free memory"],
)
@pytest.mark.usefixtures("free_gb")
def test_the_smaller_limit_counts(disk_bytes: int, expected: int) -> None:
    assert compute_limit(disk_bytes).n_bytes == expected
    refuse_above_limit(expected, disk_bytes, "a.dcm")
    with pytest.raises(MedSegError, match=r"a\.dcm would take"):
        refuse_above_limit(expected + 1, disk_bytes, "a.dcm")


def test_little_free_memory_limits_small_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "measure_free_bytes", lambda: 10**8)
    with pytest.raises(MedSegError, match="25% of the 100 MB of free memory"):
        refuse_above_limit(10**8, 10**9, "a.nii")


@pytest.mark.usefixtures("free_gb")
def test_the_message_says_what_it_takes_what_is_allowed_and_how_to_allow_more() -> None:
    with pytest.raises(MedSegError) as refused:
        refuse_above_limit(4_700_000_000, 7_000, "a.dcm")
    text = str(refused.value)
    for words in ("a.dcm", "4.7 GB", "671 MB", "7 KB on disk", "--max-memory 5GB", "Preferences"):
        assert words in text
    with allow_memory(parse_size("5GB")):
        refuse_above_limit(4_700_000_000, 7_000, "a.dcm")


@pytest.mark.usefixtures("free_gb")
def test_what_is_allowed_is_exact_and_ends() -> None:
    before = compute_limit(10)
    with allow_memory(1000):
        with pytest.raises(MedSegError, match="as you set it"):
            refuse_above_limit(1001, 10**9, "a.png")
        with allow_memory(None):
            assert get_max_memory() == 1000
    assert get_max_memory() is None
    assert compute_limit(10) == before


def test_the_trainer_is_told_what_is_allowed(tmp_path: Path) -> None:
    assert make_memory_arguments() == []
    with allow_memory(5 * GB):
        words = [str(tmp_path), "--since", "3.5", *make_memory_arguments()]
    assert _read_arguments(words) == (tmp_path, 3.5, 5 * GB)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8 * GB), ("8g", 8 * GB), ("500 MB", 5 * 10**8), ("1.5 gib", 3 * 2**29), ("2048", 2048), ("1TiB", 2**40)],
)
def test_amounts(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "many", "-1GB", "0", "8 apples", "8GB8", "1e99", "nan"])
def test_wrong_amounts(text: str) -> None:
    with pytest.raises(MedSegError, match="such as 8GB"):
        parse_size(text)


def test_amounts_as_text() -> None:
    shown = [format_bytes(n) for n in (0, 999, 1000, 999_600, 4_700_000_000, 5 * 10**15)]
    assert shown == ["0 bytes", "999 bytes", "1 KB", "1 MB", "4.7 GB", "5,000 TB"]


def test_free_memory_is_that_of_the_container(tmp_path: Path) -> None:
    assert free_memory.measure_free_bytes() > 0
    assert free_memory._measure_free_in_container(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 200\n")
    assert free_memory._measure_free_in_container(tmp_path) == [500]
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory._measure_free_in_container(tmp_path) == []
