"""`--device` names a server: `predict` and `evaluate` answer what this computer answers, and say what is missing."""

import asyncio
import json
import re
import shlex
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from light_engine import write_light_python
from pydantic import SecretStr
from workflow_phantoms import phantom

from napari_medseg.cli.remote.serve import make_tls
from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.workflow.cluster.case_request import make_model_request
from napari_medseg.workflow.remote.server_settings import ServerSettings, write_server
from napari_medseg.workflow.serving import server as serving
from napari_medseg.workflow.serving.tokens import TokenFile

DOCS = Path(__file__).parents[3] / "docs"
Medseg = Callable[..., tuple[int, str, str]]


@contextmanager
def running_server(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, str]]:
    """A server with the light engine; yields its address and a token."""
    tokens = TokenFile(folder / "access" / "tokens.json")
    token = tokens.add("anna")
    made = serving.ServerSettings(
        folder / "server", tokens, python=write_light_python(folder), tls=tls, takes_trainings=False
    )
    ready, end, found = threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        async with serving.run_server(made) as server:
            found.append((asyncio.get_running_loop(), server.port))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    loop, port = found[0]
    try:
        yield (f"ws://127.0.0.1:{port}" if tls is None else f"wss://localhost:{port}"), token
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(20)


def test_a_server_predicts_and_is_scored_for_a_command(
    medseg: Medseg, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = phantom(1)
    for name in ("a.tif", "b.tif"):
        formats.write_image(tmp_path / "in" / name, image)
        expected = (image.pixels > 0).astype(np.uint8)
        formats.write_labels(tmp_path / "references" / name, expected, image)
    (tmp_path / "in" / "torn.png").write_bytes(b"\x89PNG but torn")
    predict = ("predict", tmp_path / "in", "-o", tmp_path / "out", "--registry", registry, "--suffix", ".tif", "--json")
    scoring = ("--images", tmp_path / "in", "--labels", tmp_path / "references", "--only", "a|b")
    monkeypatch.delenv("MEDSEG_TOKEN", raising=False)
    with running_server(tmp_path / "serving") as (address, token):
        assert "MEDSEG_TOKEN" in medseg(*predict, "--device", address)[2]
        monkeypatch.setenv("MEDSEG_TOKEN", token)
        code, out, _ = medseg(*predict, "--device", address)
        answer = json.loads(out)
        assert (code, len(answer["files"]), len(answer["errors"])) == (1, 2, 1), "the torn file alone is an error"
        assert answer["device"] == f"the server {address.partition('//')[2]}"
        for entry in answer["files"]:
            np.testing.assert_array_equal(formats.read_labels(Path(entry["labels"]), image), image.pixels > 0)
        monkeypatch.delenv("MEDSEG_TOKEN")
        write_server(registry, ServerSettings(address=address, token=SecretStr(token)))
        code, out, err = medseg("evaluate", *scoring, "--registry", registry, "--device", "remote", "--json")
        assert code == 0, err
        assert [row["mean_dice"] for row in json.loads(out)["images"]] == [1.0, 1.0]
    code, out, _ = medseg(*predict, "--device", "remote", "--overwrite")
    answer = json.loads(out)
    assert (code, answer["files"]) == (1, []), "no fall-back to this computer"
    assert sum("no server answers at this address and port" in text for text in answer["errors"]) == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates by openssl")
def test_a_certificate_that_the_server_made_itself_is_trusted_if_it_is_named(
    medseg: Medseg, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = re.findall(r"^   (openssl (?:.*\\\n)*.*)$", (DOCS / "remote.md").read_text(encoding="utf-8"), re.M)
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
        words = shlex.split(command.replace("\\\n", " ").replace("gpu.example.org", "localhost"))
        subprocess.run(words, cwd=tmp_path / name, check=True, capture_output=True)
    cert = tmp_path / "right" / "server.pem"
    formats.write_image(tmp_path / "a.tif", phantom(1))
    predict = ("predict", tmp_path / "a.tif", "-o", tmp_path / "out", "--registry", registry, "--overwrite", "--device")
    with running_server(tmp_path / "serving", make_tls(cert, tmp_path / "right" / "server.key")) as (address, token):
        monkeypatch.setenv("MEDSEG_TOKEN", token)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "wrong" / "server.pem"))
        code, _, err = medseg(*predict, address)
        assert code == 1
        assert "the certificate of localhost is not trusted" in err
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert medseg(*predict, address)[0] == 0
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.delenv("MEDSEG_TOKEN")
        typed = address.partition("//")[2]
        write_server(registry, ServerSettings(address=typed, token=SecretStr(token), ca_file=str(cert)))
        assert medseg(*predict, address)[0] == 0, "it is the server of the window, however its address is written"


def test_a_server_that_was_never_chosen_is_said(medseg: Medseg, registry: Path, tmp_path: Path) -> None:
    formats.write_image(tmp_path / "a.tif", phantom(1))
    code, _, err = medseg(
        "predict", tmp_path / "a.tif", "-o", tmp_path / "out", "--registry", registry, "--device", "remote"
    )
    assert code == 1
    assert "no server was chosen" in err


def test_workers_do_not_ask_a_server(registry: Path, tmp_path: Path) -> None:
    models = ModelRegistry(registry, tmp_path / "none")
    with pytest.raises(MedSegError, match="workers compute themselves"):
        make_model_request(models, models.get_live_card("lungs"), "remote")
