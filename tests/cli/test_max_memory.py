"""`--max-memory`: every command that reads images has it, and it ends with the command."""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import typer
from PIL import Image as Picture

from napari_medseg.cli.main import app
from napari_medseg.core.decoded_size.limit import MAX_MEMORY_OPTION, get_max_memory

Call = Callable[..., tuple[int, str, str]]
READERS = ("predict", "evaluate", "check", "export", "benchmark", "groups change")
READERS += tuple(f"train {name}" for name in ("project", "folders", "resume", "preview"))


@pytest.mark.parametrize("words", READERS)
def test_commands_that_read_images_have_the_option(words: str) -> None:
    command: click.Command = typer.main.get_command(app)
    for word in words.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    assert any(MAX_MEMORY_OPTION in parameter.opts for parameter in command.params)


def test_it_holds_for_one_command(medseg: Call, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        Picture.fromarray(np.eye(24, dtype=np.uint8)).save(tmp_path / folder / "a.png")
    places = [word for name in ("images", "labels") for word in (f"--{name}", tmp_path / name)]
    command = ("evaluate", *places, "--predictions", tmp_path / "labels", "--registry", tmp_path / "none", "--json")
    code, _, err = medseg(*command, MAX_MEMORY_OPTION, "500")
    assert code == 1
    assert "a.png would take 576 bytes of memory; 500 bytes are allowed (as you set it)" in err
    assert get_max_memory() is None
    assert medseg(*command)[0] == medseg(*command, MAX_MEMORY_OPTION, "1KB")[0] == 0


def test_a_wrong_amount_is_wrong_usage(medseg: Call, tmp_path: Path) -> None:
    code, _, err = medseg("export", "-o", tmp_path, MAX_MEMORY_OPTION, "much")
    assert code == 2
    assert "such as 8GB" in err
