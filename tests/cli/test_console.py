"""What commands print where the output is no UTF-8, as it is for a file or a pipe on many Windows machines."""

import io
import json
import sys

import pytest
from rich.console import Console
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json, escape_unprintable

NAMES = ("Müller.tif", "肺 1.nii.gz", "Mu\u0308ller", "🫁.png", "bytes \udcff", "Ł≤→")


@pytest.fixture(params=["cp1252", "cp437", "latin-1", "utf-8"])
def redirected(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    """Stdout as Python makes it for a file, in an encoding of Windows, and in UTF-8."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=request.param, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    escape_unprintable()
    return stream


def text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_json_comes_back_from_any_encoding(redirected: io.TextIOWrapper, name: str) -> None:
    echo_json({name: [name]})
    assert json.loads(text_of(redirected)) == {name: [name]}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_lines_and_tables_show_what_the_encoding_lacks_as_escapes(redirected: io.TextIOWrapper, name: str) -> None:
    echo(name)
    table = Table("name")
    table.add_row(name)
    Console().print(table)
    shown = name.encode(redirected.encoding, "backslashreplace").decode(redirected.encoding)
    assert text_of(redirected).count(shown) == 2


def test_a_process_without_a_console_has_no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    escape_unprintable()
    assert sys.stdout is sys.stderr is None, "nothing is put in their place"
