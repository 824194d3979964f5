"""Who may use a server: a token for each user, of which the file keeps only a salted hash.

A token is 256 random bits, so that one round of SHA-256 is enough: nothing can be guessed. The file is read again when
it has changed, so that a revoked token ends the connections that were made with it.
"""

import hashlib
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.project.file_state import KeptContent
from napari_medseg.core.project.lock import lock_shared_folder

TOKENS_FILE = "tokens.json"
N_BYTES = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_TOKEN = re.compile(r"medseg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredToken(_Frozen):
    """One user's token: `id` finds it, `digest` is the salted hash of its secret part."""

    name: str
    id: str
    salt: str
    digest: str
    created: str
    revoked: str = ""


class _TokensFile(_Frozen):
    tokens: tuple[StoredToken, ...] = Field(())


_NOBODY = StoredToken(name="", id="", salt="", digest=hashlib.sha256(b"").hexdigest(), created="")


class TokenFile:
    """The file of tokens of a server.

    Parameters
    ----------
    path
        JSON; it need not exist. It is written readable for its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: KeptContent[tuple[StoredToken, ...]] = KeptContent()

    def read(self) -> tuple[StoredToken, ...]:
        """Return all tokens, also revoked ones; raises `MedSegError` if the file is damaged."""
        return self._kept.read([self.path], self._load)

    def add(self, name: str) -> str:
        """Make a token for a user and return it; it is stored nowhere.

        Raises
        ------
        MedSegError
            If the name is not allowed or has a token, or the file cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise MedSegError(
                f"{name!r} is no name of a user: use a to z, digits, dot, hyphen and underscore, at most 40."
            )
        token_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(N_BYTES), secrets.token_hex(16)
        made = StoredToken(name=name, id=token_id, salt=salt, digest=_hash(salt, secret), created=_now())
        with lock_shared_folder(self.path.parent):
            before = self._load()
            if any(token.name == name and not token.revoked for token in before):
                raise MedSegError(f"{name} has a token. Revoke it first: medseg serve token revoke {name}.")
            self._write((*before, made))
        return f"medseg_{token_id}_{secret}"

    def revoke(self, name: str) -> None:
        """Make the token of a user useless; raises `MedSegError` if there is none."""
        with lock_shared_folder(self.path.parent):
            before = self._load()
            if not any(token.name == name and not token.revoked for token in before):
                raise MedSegError(f"{name!r} has no token. medseg serve token list shows all.")
            ended = _now()
            self._write(
                tuple(
                    token.model_copy(update={"revoked": ended}) if token.name == name and not token.revoked else token
                    for token in before
                )
            )

    def find_user(self, token: str) -> StoredToken | None:
        """Return the stored token that a text proves, unless it is revoked; in constant time for each length."""
        match = _TOKEN.fullmatch(token)
        token_id, secret = match.groups() if match else ("", "")
        found = next((one for one in self.read() if one.id == token_id), _NOBODY)
        is_right = secrets.compare_digest(_hash(found.salt, secret), found.digest)
        return found if is_right and found.id and not found.revoked else None

    def is_valid(self, token_id: str) -> bool:
        """Whether the token with this id exists and is not revoked."""
        return any(token.id == token_id and not token.revoked for token in self.read())

    def _load(self) -> tuple[StoredToken, ...]:
        if not self.path.exists():
            return ()
        return read_json_model(self.path, _TokensFile, "is no file of tokens", "Restore it from a backup.").tokens

    def _write(self, tokens: tuple[StoredToken, ...]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(self.path, _TokensFile(tokens=tokens).model_dump_json(indent=2) + "\n")
        self.path.chmod(0o600)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
