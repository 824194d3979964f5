"""A folder that cannot be written to is refused before the work, by every command that writes into one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_medseg.core.atomic_io import refuse_unwritable_file, refuse_unwritable_folder
from napari_medseg.core.errors import MedSegError

COMMANDS = (
    ("import", "--images", "missing", "--masks", "missing", "--project"),
    ("report", "missing", "-o"),
    ("project", "unpack", "missing.zip"),
    ("predict", "missing.tif", "-o"),
    ("export", "-o"),
    ("evaluate", "--images", "missing", "--labels", "missing", "-o"),
    ("benchmark", "d", "-o"),
    ("train", "folders", "--images", "missing", "--masks", "missing", "-o"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_output_that_is_a_file_is_refused_first(
    command: tuple[str, ...], medseg: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("of the user")
    for output in (tmp_path / "a.txt", tmp_path / "a.txt" / "out", tmp_path / ("x" * 300)):
        code, _, err = medseg(*command, output)
        assert code == 1, err
        assert "cannot write to" in err, err
        assert "Traceback" not in err
    assert (tmp_path / "a.txt").read_text() == "of the user"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_training_checks_the_folder_that_it_would_make(
    medseg: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("medseg-runs").write_text("a file")
    code, _, err = medseg("train", "folders", "--images", "missing", "--masks", "missing", "--labels", "a")
    assert code == 1
    assert "medseg-runs is a file" in err


@pytest.mark.parametrize("command", [("project", "pack", "missing"), ("meter", "missing", "--csv")])
def test_a_file_that_cannot_be_written_is_refused_first(
    command: tuple[str, ...], medseg: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("of the user")
    for output in (tmp_path, tmp_path / "a.txt" / "out", tmp_path / ("x" * 300)):
        code, _, err = medseg(*command, output)
        assert code == 1, err
        assert "cannot write to" in err, err
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    refuse_unwritable_file(tmp_path / "a.txt")
    refuse_unwritable_file(tmp_path / "new" / "b.txt")


def test_nothing_is_left_and_no_folder_is_made(tmp_path: Path) -> None:
    refuse_unwritable_folder(tmp_path / "new" / "newer")
    assert not list(tmp_path.iterdir())
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MedSegError, match="is a file"):
        refuse_unwritable_folder(tmp_path / "gone" / "out")
