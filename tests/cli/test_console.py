"""What commands print where the output is no UTF-8, as it is for a file or a pipe on many Windows machines."""

import io
import json
import signal
import subprocess
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl+C to a whole console")
def test_ctrl_c_ends_a_command_that_is_inside_one_long_call_of_a_library() -> None:
    script = """
import hashlib, signal
from napari_medseg.cli.console import end_soon_after_interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
end_soon_after_interrupt()
try:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
except KeyboardInterrupt:  # the signal came before the call, perhaps while `print` returned
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, "medseg: interrupted\n")
