"""`medseg serve`: a server that predicts for windows on other computers, and the tokens of its users."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json, echo_notice
from napari_medseg.cli.options import JsonOption, RuntimeOption
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.remote.address import DEFAULT_PORT, is_this_computer
from napari_medseg.inference.runtimes.runtime_names import parse_runtime
from napari_medseg.workflow.serving.limits import ServerLimits
from napari_medseg.workflow.serving.tokens import TOKENS_FILE, TokenFile
from napari_medseg.workflow.workspace import get_user_data_dir

if TYPE_CHECKING:
    import ssl

    from napari_medseg.workflow.serving.session import ServerSettings

GB = 10**9

app = typer.Typer(
    invoke_without_command=True,
    help="Predict for windows on other computers (there: *Remote...* in the menu of the device).",
)
token_app = typer.Typer(no_args_is_help=True, help="Who may use the server.")
app.add_typer(token_app, name="token")

TokensOption = Annotated[
    Path | None,
    typer.Option("--tokens", metavar="FILE", help="File of tokens.", show_default="in the user's data folder"),
]


@app.callback()
def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option("--host", help="Network address to listen on; 0.0.0.0 is every one of this computer.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 is a free one.")] = DEFAULT_PORT,
    tokens: TokensOption = None,
    cert: Annotated[Path | None, typer.Option("--cert", help="Certificate for TLS, with its chain; PEM.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Private key of the certificate; PEM.")] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", help="Such as cuda:0; repeat it for several GPUs.", show_default="the fastest"),
    ] = None,
    runtime: RuntimeOption = "auto",
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="For models that windows send.", show_default="in the user's data folder"),
    ] = None,
    no_training: Annotated[
        bool, typer.Option("--no-training", help="Only predict; windows train and learn on their own computers.")
    ] = False,
    quota: Annotated[
        float, typer.Option("--quota", metavar="GB", min=0.1, help="Kept on the disk for the training runs of a user.")
    ] = ServerLimits.max_user_bytes / GB,
    days: Annotated[
        float, typer.Option("--days", min=0.1, help="A run that nobody asked for so long is deleted.")
    ] = ServerLimits.keep_days,
    without_tls: Annotated[
        bool,
        typer.Option("--without-tls", help="Listen unencrypted to other computers, such as behind a proxy with TLS."),
    ] = False,
) -> None:
    """Predict for windows on other computers until Ctrl+C. Only users with a token may ask."""
    if context.invoked_subcommand is not None:
        return
    from napari_medseg.workflow.serving.session import ServerSettings

    _refuse_open_listening(host, cert, key, without_tls)
    file = _open_tokens(tokens)
    if not any(not token.revoked for token in file.read()):
        echo_notice("nobody has a token yet: medseg serve token add NAME")
    settings = ServerSettings(
        folder=folder or get_user_data_dir() / "server",
        tokens=file,
        host=host,
        port=port,
        devices=tuple(device or [""]),
        runtime=parse_runtime(runtime or "auto"),
        tls=make_tls(cert, key),
        takes_trainings=not no_training,
        limits=ServerLimits(max_user_bytes=round(quota * GB), keep_days=days),
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    import asyncio

    asyncio.run(_serve_until_interrupted(settings))


@token_app.command()
def add(name: Annotated[str, typer.Argument(help="Of the user.")], tokens: TokensOption = None) -> None:
    """Make a token for a user and print it once; the file keeps only a salted hash of it."""
    echo(_open_tokens(tokens).add(name))
    echo_notice(f"give this token to {name}, and to nobody else. It is not shown again.")


@token_app.command("list")
def list_tokens(tokens: TokensOption = None, as_json: JsonOption = False) -> None:
    """Show who has, or had, a token."""
    found = _open_tokens(tokens).read()
    if as_json:
        echo_json([{"name": one.name, "created": one.created, "revoked": one.revoked or None} for one in found])
        return
    table = Table("user", "since", "revoked")
    for one in found:
        table.add_row(one.name, one.created, one.revoked)
    Console().print(table)


@token_app.command()
def revoke(name: Annotated[str, typer.Argument(help="Of the user.")], tokens: TokensOption = None) -> None:
    """Make the token of a user useless; a running server closes the user's connections within seconds."""
    _open_tokens(tokens).revoke(name)
    echo(f"{name} can no longer use the server")


async def _serve_until_interrupted(settings: "ServerSettings") -> None:
    import asyncio

    from napari_medseg.workflow.serving.server import run_server

    try:
        async with run_server(settings) as server:
            scheme = "wss" if settings.tls is not None else "ws"
            echo(f"listening on {scheme}://{settings.host}:{server.port}")
            await asyncio.get_running_loop().create_future()
    except OSError as error:
        raise MedSegError(
            f"cannot listen on {settings.host}:{settings.port}: {get_reason(error)}. Choose another --port or --host."
        ) from error


def _refuse_open_listening(host: str, cert: Path | None, key: Path | None, without_tls: bool) -> None:
    if (cert is None) != (key is None):
        raise MedSegError("give --cert and --key together.")
    if cert is None and not is_this_computer(host) and not without_tls:
        raise MedSegError(
            f"{host} is reached from other computers, which would send images and tokens unencrypted. Give --cert and "
            "--key, or --without-tls if a proxy or a tunnel encrypts; docs/remote.md shows how."
        )


def make_tls(cert: Path | None, key: Path | None) -> "ssl.SSLContext | None":
    """Return the TLS of a server; `None` without a certificate. Raises `MedSegError` if the files are none."""
    import ssl

    if cert is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise MedSegError(
            f"{cert} and {key} are no certificate and its key: {get_reason(error)}. Both have to be PEM files."
        ) from error
    return context


def _open_tokens(path: Path | None) -> TokenFile:
    return TokenFile(path or get_user_data_dir() / "server-access" / TOKENS_FILE)
