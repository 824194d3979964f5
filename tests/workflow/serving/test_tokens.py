import json
import os
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.serving.tokens import TokenFile


def test_a_token_proves_its_user_and_is_stored_nowhere(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    anna, bert = file.add("anna"), file.add("bert")
    for token, name in ((anna, "anna"), (bert, "bert")):
        found = file.find_user(token)
        assert found is not None
        assert found.name == name
    text = file.path.read_text()
    assert anna.split("_", 2)[2] not in text  # the secret may hold the sign, too
    assert json.loads(text)["tokens"][0]["digest"] != json.loads(text)["tokens"][1]["digest"]
    if os.name == "posix":
        assert file.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "spoil", [str.upper, lambda token: token[:-1], lambda token: token + "a", lambda _: "", str.strip]
)
def test_any_other_text_proves_nobody(tmp_path: Path, spoil: object) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    token = file.add("anna")
    other = spoil(token)  # type: ignore[operator]
    assert (file.find_user(other) is None) is (other != token)


def test_parts_of_two_tokens_prove_nobody(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    anna, bert = file.add("anna"), file.add("bert")
    assert file.find_user(anna[:20] + bert[20:]) is None


def test_a_revoked_token_proves_nobody_and_a_new_one_can_be_made(tmp_path: Path) -> None:
    file, of_the_server = TokenFile(tmp_path / "tokens.json"), TokenFile(tmp_path / "tokens.json")
    old = file.add("anna")
    found = of_the_server.find_user(old)
    assert found is not None
    with pytest.raises(MedSegError, match="anna has a token"):
        file.add("anna")
    file.revoke("anna")
    assert of_the_server.find_user(old) is None
    assert not of_the_server.is_valid(found.id)
    assert of_the_server.find_user(file.add("anna")) is not None
    assert [bool(one.revoked) for one in file.read()] == [True, False]


@pytest.mark.parametrize("name", ["", "Anna", "a b", "../a", "a\n", 41 * "a", "ä"])
def test_names_of_users_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(MedSegError, match="is no name of a user"):
        TokenFile(tmp_path / "tokens.json").add(name)


def test_a_damaged_file_lets_nobody_in_and_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text('{"tokens": [{"name": "anna"}]}')
    file = TokenFile(path)
    for action in (lambda: file.find_user("medseg_x"), lambda: file.add("bert"), lambda: file.revoke("anna")):
        with pytest.raises(MedSegError, match="is no file of tokens"):
            action()
    assert "anna" in path.read_text()


def test_who_has_no_token_cannot_lose_it(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="'anna' has no token"):
        TokenFile(tmp_path / "tokens.json").revoke("anna")
