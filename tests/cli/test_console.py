"""What commands print where the output is no UTF-8, as it is for a file or a pipe on many Windows machines."""

import io
import json
import sys

import pytest
from rich.console import Console
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json, escape_unprintable

NAMES = ("Müller.tif", "肺 1.nii.gz", "Mu\u0308ller", "🫁.png", "bytes \udcff", "Ł≤→")


ENCODINGS = ("cp1252", "cp437", "latin-1", "utf-8")


def redirect(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.TextIOWrapper:
    """Give the test stdout as Python makes it for a file; not in a fixture, because pytest sets its own after those."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    escape_unprintable()
    return stream


def text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_comes_back_from_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for name in NAMES:
        redirected = redirect(monkeypatch, encoding)
        echo_json({name: [name]})
        assert json.loads(text_of(redirected)) == {name: [name]}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lines_and_tables_show_what_the_encoding_lacks_as_escapes(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    for name in NAMES:
        redirected = redirect(monkeypatch, encoding)
        echo(name)
        table = Table("name")
        table.add_row(name)
        Console().print(table)
        assert text_of(redirected).count(name.encode(encoding, "backslashreplace").decode(encoding)) == 2


def test_a_process_without_a_console_has_no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    escape_unprintable()
    assert sys.stdout is sys.stderr is None, "nothing is put in their place"
