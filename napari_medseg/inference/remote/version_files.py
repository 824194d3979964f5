"""The files of a model version as they are named, sent and verified on both sides of a link."""

import hashlib
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, DOMAIN_FILE, WEIGHTS_FILE, ModelCard, read_card
from napari_medseg.inference.remote.conversation import Conversation
from napari_medseg.inference.remote.messages import FileSpec, VersionSpec, WireError


def describe_version(folder: Path) -> VersionSpec:
    """Return the hashes of the files of a version, which its card knows; only the card is read.

    Raises
    ------
    MedSegError
        If the card is missing or damaged, or a file is missing.
    """
    card = read_card(folder / CARD_FILE)
    content = (folder / CARD_FILE).read_bytes()
    own = hashlib.sha256(content).hexdigest()
    files = [FileSpec(path=CARD_FILE, n_bytes=len(content), sha256=own)]
    for name, sha256 in list_hashes(card).items():
        if not (folder / name).is_file():
            raise MedSegError(f"{folder} has no {name}. Install the model again.")
        files.append(FileSpec(path=name, n_bytes=(folder / name).stat().st_size, sha256=sha256))
    return VersionSpec(card_sha256=own, files=tuple(files))


async def send_version(conversation: Conversation, folder: Path, version: VersionSpec) -> None:
    """Send the files of a version that `describe_version` described.

    Raises
    ------
    FileNotSent
        If one cannot be read, or is not what its card says.
    """
    for file in version.files:
        await conversation.send_file(file.path, folder / file.path, file.sha256)


def list_hashes(card: ModelCard) -> dict[str, str]:
    """Return the hash of each file of a version but the card, as the card has it."""
    hashes = {WEIGHTS_FILE: card.weights_sha256}
    return hashes if card.domain is None else hashes | {DOMAIN_FILE: card.domain.statistics_sha256}


def check_received(version: VersionSpec, folder: Path) -> ModelCard:
    """Return the card of a version that was received, whose files have the hashes of `version`.

    Raises
    ------
    WireError
        If the card names other files or hashes than `version`, or is none.
    """
    try:
        card = read_card(folder / CARD_FILE)
    except MedSegError as error:
        raise WireError("a version was sent without a valid card") from error
    named = {file.path: file.sha256 for file in version.files}
    if named != {CARD_FILE: version.card_sha256} | list_hashes(card):
        raise WireError("the files of a version are not those of its card")
    return card
