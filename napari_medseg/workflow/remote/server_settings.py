"""Which server a person uses, and the token for it: one file beside the models that only this person may read."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from napari_medseg.core.atomic_io import make_temporary_path, read_file, replace_file, sync_file
from napari_medseg.core.errors import MedSegError, get_reason, report_damage

SERVER_FILE = "server.json"
TOKEN_VARIABLE = "MEDSEG_TOKEN"
PRIVATE_MODE = 0o600


class ServerSettings(BaseModel):
    """A server.

    `address` is as `wss://gpu.example.org:8765`. `ca_file` is the certificate that vouches for it, if that is not one
    of those that this computer trusts. The token is shown neither by `repr` nor in logs. With `is_used` false, the
    settings are kept, and this computer predicts and trains.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(min_length=1)
    token: SecretStr = SecretStr("")
    ca_file: str = ""
    is_used: bool = True

    @property
    def name(self) -> str:
        """The server's name in messages: its host."""
        return self.address.partition("://")[2].partition("/")[0] or self.address


def read_server(folder: Path, environment: Mapping[str, str] | None = None) -> ServerSettings | None:
    """Return the server of the person; `None` if none was chosen, or the file is damaged, which is reported.

    Parameters
    ----------
    folder
        Folder of the registry.
    environment
        Its `MEDSEG_TOKEN` is used if the file has no token, so that it never goes to another server than it is for;
        `None`: that of this process.
    """
    path = folder / SERVER_FILE
    try:
        settings = ServerSettings.model_validate_json(read_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = get_reason(error) if isinstance(error, OSError) else "it is damaged"  # never its content
        report_damage(
            f"{path} cannot be read ({reason}): no server is used. Choose it again: Remote… in the menu of the device."
        )
        return None
    token = "" if settings.token.get_secret_value() else read_token_variable(environment)
    return settings.model_copy(update={"token": SecretStr(token)}) if token else settings


def read_token_variable(environment: Mapping[str, str] | None = None) -> str:
    """Return the token in `MEDSEG_TOKEN`; empty if there is none."""
    return (os.environ if environment is None else environment).get(TOKEN_VARIABLE, "").strip()


def write_server(folder: Path, settings: ServerSettings) -> None:
    """Write the server of the person into a file that only this person may read; raise `MedSegError` if it fails."""
    path = folder / SERVER_FILE
    plain = settings.model_dump_json(exclude={"token"}, indent=2)
    text = ServerSettings.model_validate_json(plain).model_dump() | {"token": settings.token.get_secret_value()}
    content = _Plain.model_validate(text).model_dump_json(indent=2) + "\n"
    temporary = make_temporary_path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE), "wb") as stream:
            stream.write(content.encode())
        sync_file(temporary)
        replace_file(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MedSegError(f"the server cannot be remembered in {path}: {get_reason(error)}.") from error


def switch_server(folder: Path, *, is_used: bool) -> None:
    """Use the server from now on, or this computer; the server is remembered."""
    settings = read_server(folder, {})
    if settings is not None and settings.is_used != is_used:
        write_server(folder, settings.model_copy(update={"is_used": is_used}))


class _Plain(BaseModel):
    address: str
    token: str
    ca_file: str
    is_used: bool
