import json
from collections.abc import Callable
from pathlib import Path

import pytest

Medseg = Callable[..., tuple[int, str, str]]


def test_tokens_are_made_listed_and_revoked(medseg: Medseg, tmp_path: Path) -> None:
    file = ["--tokens", tmp_path / "tokens.json"]
    code, token, notice = medseg("serve", "token", "add", "anna", *file)
    assert (code, token.startswith("medseg_"), "not shown again" in notice) == (0, True, True)
    assert medseg("serve", "token", "revoke", "anna", *file)[0] == 0
    code, listed, _ = medseg("serve", "token", "list", "--json", *file)
    assert json.loads(listed)[0]["name"] == "anna"
    assert json.loads(listed)[0]["revoked"]
    assert token.strip() not in listed
    assert "anna" in medseg("serve", "token", "list", *file)[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gpu.example.org"])
def test_other_computers_are_not_served_without_encryption(medseg: Medseg, tmp_path: Path, host: str) -> None:
    code, _, text = medseg("serve", "--host", host, "--tokens", tmp_path / "tokens.json")
    assert code == 1
    assert "would send images and tokens unencrypted" in text


def test_a_certificate_needs_its_key_and_both_have_to_be_some(medseg: Medseg, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("nothing")
    assert "--cert and --key together" in medseg("serve", "--cert", tmp_path / "a.pem")[2]
    code, _, text = medseg("serve", "--cert", tmp_path / "a.pem", "--key", tmp_path / "a.pem")
    assert code == 1
    assert "no certificate and its key" in text
