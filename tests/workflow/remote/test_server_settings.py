"""The server of a person, and the token that only this person may read."""

import stat
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from napari_medseg.workflow.remote.remote_run import read_remote, send_to_server, use_own_settings
from napari_medseg.workflow.remote.server_settings import (
    SERVER_FILE,
    ServerSettings,
    read_server,
    switch_server,
    write_server,
)

SECRET = "medseg_0123456789ab_secret"
SETTINGS = ServerSettings(address="wss://gpu.example.org:8723", token=SecretStr(SECRET), ca_file="/ca.pem")


def test_the_server_is_kept_and_can_be_switched_off(tmp_path: Path) -> None:
    assert read_server(tmp_path, {}) is None
    write_server(tmp_path / "registry", SETTINGS)
    assert read_server(tmp_path / "registry", {}) == SETTINGS
    switch_server(tmp_path / "registry", is_used=False)
    kept = read_server(tmp_path / "registry", {})
    assert kept == SETTINGS.model_copy(update={"is_used": False})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes; the profile of a user is private")
def test_only_its_owner_may_read_the_token(tmp_path: Path) -> None:
    write_server(tmp_path, SETTINGS)
    (tmp_path / SERVER_FILE).chmod(0o644)
    write_server(tmp_path, SETTINGS)
    assert stat.S_IMODE((tmp_path / SERVER_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SERVER_FILE]


def test_the_variable_never_goes_to_the_chosen_server_instead_of_its_own_token(tmp_path: Path) -> None:
    write_server(tmp_path, SETTINGS)
    assert read_server(tmp_path, {"MEDSEG_TOKEN": "of another server"}) == SETTINGS
    write_server(tmp_path, SETTINGS.model_copy(update={"token": SecretStr("")}))
    found = read_server(tmp_path, {"MEDSEG_TOKEN": " other "})
    assert found is not None
    assert found.token.get_secret_value() == "other"


def test_a_run_from_elsewhere_uses_the_settings_of_this_person(tmp_path: Path) -> None:
    send_to_server(tmp_path, "wss://gpu.example.org", tmp_path / "of somebody else")
    before = read_remote(tmp_path)
    use_own_settings(tmp_path, tmp_path / "own")
    expected = before.model_copy(update={"settings_folder": str(tmp_path / "own")})
    assert read_remote(tmp_path) == expected


@pytest.mark.parametrize("damage", [SECRET.encode(), b'{"address": "", "token": "medseg_0123456789ab_secret"}'])
def test_neither_texts_nor_logs_show_the_token(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    assert SECRET not in repr(SETTINGS) + str(SETTINGS) + SETTINGS.model_dump_json()
    (tmp_path / SERVER_FILE).write_bytes(damage)
    assert read_server(tmp_path, {}) is None
    assert "cannot be read" in caplog.text
    assert SECRET not in caplog.text
