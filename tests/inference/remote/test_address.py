from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.remote.address import DEFAULT_PORT, is_this_computer, parse_address
from napari_medseg.inference.remote.messages import FileSpec, check_relative_path


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("gpu.example.org", f"wss://gpu.example.org:{DEFAULT_PORT}/"),
        ("  gpu.example.org:99 ", "wss://gpu.example.org:99/"),
        ("wss://10.0.0.7:443/", "wss://10.0.0.7:443/"),
        ("localhost", f"ws://localhost:{DEFAULT_PORT}/"),
        ("127.0.0.1:8723", "ws://127.0.0.1:8723/"),
        ("ws://[::1]:99", "ws://[::1]:99/"),
        ("[fe80::1]:99", "wss://[fe80::1]:99/"),
        ("wss://127.0.0.1:99", "wss://127.0.0.1:99/"),
    ],
)
def test_addresses_are_read(text: str, uri: str) -> None:
    assert parse_address(text).uri == uri


def test_a_certificate_means_encryption_also_on_this_computer() -> None:
    assert parse_address("127.0.0.1:99", Path("ca.pem")).uri == "wss://127.0.0.1:99/"


@pytest.mark.parametrize(
    "text", ["", ":99", "http://gpu.example.org", "gpu:port", "gpu:99999", "a@gpu", "gpu/path", "gpu?x=1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(MedSegError, match="is no address of a server"):
        parse_address(text)


@pytest.mark.parametrize("host", ["gpu.example.org", "10.0.0.7", "0.0.0.0", "[2001:db8::1]"])
def test_nothing_goes_unencrypted_to_another_computer(host: str) -> None:
    with pytest.raises(MedSegError, match="unencrypted to another computer"):
        parse_address(f"ws://{host}:8723")


def test_only_loopback_is_this_computer() -> None:
    assert [host for host in ("127.0.0.1", "127.1.2.3", "::1", "LOCALHOST") if not is_this_computer(host)] == []
    assert [host for host in ("0.0.0.0", "localhost.example.org", "10.0.0.1", "::") if is_this_computer(host)] == []


@pytest.mark.parametrize("path", ["card.json", "images/7/a b.nii.gz", "labels/case-1_(2).tif"])
def test_ordinary_paths_are_taken(path: str) -> None:
    assert check_relative_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "../a",
        "a/../b",
        "a//b",
        "./a",
        "a/.",
        "C:/a",
        "a\\b",
        "a\0",
        "a:b",
        "CON.",
        "a/nul.txt",
        "com1",
        "a ",
        "~/a",
        "ä/" + 200 * "b",
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        FileSpec(path=path, n_bytes=1, sha256=64 * "0")
