"""The model versions that windows have sent to a server, on its disk, by the hash of their card."""

import asyncio
import contextlib
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from napari_medseg.core.atomic_io import replace_file
from napari_medseg.core.model_card import CARD_FILE
from napari_medseg.inference.remote.best_effort_file import BestEffortFile
from napari_medseg.inference.remote.conversation import Conversation
from napari_medseg.inference.remote.messages import RemoteRefused, VersionSpec
from napari_medseg.inference.remote.version_files import check_received

MAX_CARD_BYTES = 2**20
_UNFINISHED = ".receiving-"


class VersionCache:
    """Versions in a folder; those that were not used for the longest time are deleted when it is full.

    Parameters
    ----------
    folder
        Made if needed; nothing else is in it.
    max_bytes
        Of all versions.
    max_file_bytes
        Of one file of a version.
    """

    def __init__(self, folder: Path, max_bytes: int, max_file_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_file_bytes = max_file_bytes
        self._in_use: Counter[str] = Counter()
        self._n_received = 0
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)

    def find_folder(self, version: VersionSpec) -> Path:
        """Return where a version is, or will be."""
        return self._folder / version.card_sha256

    def list_missing(self, versions: Iterable[VersionSpec]) -> tuple[VersionSpec, ...]:
        """Return the versions that have to be sent.

        Raises
        ------
        RemoteRefused
            If a file of one is above the limit.
        """
        missing = [version for version in versions if not (self.find_folder(version) / CARD_FILE).is_file()]
        for file in (file for version in missing for file in version.files):
            limit = MAX_CARD_BYTES if file.path == CARD_FILE else self._max_file_bytes
            if file.n_bytes > limit:
                raise RemoteRefused(
                    f"{file.path} of the model has {file.n_bytes / 1e6:,.0f} MB; the server takes {limit / 1e6:,.0f}"
                )
        return tuple(missing)

    @asynccontextmanager
    async def hold(self, versions: Iterable[VersionSpec]) -> AsyncIterator[None]:
        """Keep these versions from being deleted inside the context."""
        names = [version.card_sha256 for version in versions]
        self._in_use.update(names)
        try:
            yield
        finally:
            self._in_use.subtract(names)

    async def receive(self, conversation: Conversation, version: VersionSpec) -> OSError | None:
        """Receive the files of a version; it is there when all of them have the hashes of its card.

        Returns
        -------
        OSError or None
            Why it could not be kept, such as a full disk; all of it was received even so, and what follows can be read.

        Raises
        ------
        WireError
            If they have not these hashes.
        """
        self._n_received += 1
        beside = self._folder / f"{_UNFINISHED}{os.getpid()}-{self._n_received}"
        fault = None
        try:
            for file in version.files:
                with BestEffortFile(beside / file.path) as target:
                    await conversation.receive_bytes(file.path, target, file.n_bytes, file.sha256)
                    target.keep()
                fault = fault or target.fault
            if fault is not None:
                return fault
            await asyncio.to_thread(check_received, version, beside)
            with contextlib.suppress(OSError):  # another window sent the same version meanwhile
                replace_file(beside, self.find_folder(version))
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        await asyncio.to_thread(self._delete_oldest)
        return None

    def mark_used(self, versions: Iterable[VersionSpec]) -> None:
        """Note that versions are used now: others are deleted first."""
        for version in versions:
            with contextlib.suppress(OSError):
                os.utime(self.find_folder(version))

    def _delete_oldest(self) -> None:
        """Delete the versions that were used longest ago and are not in use, until the others fit."""
        found = []
        for folder in self._folder.iterdir():
            with contextlib.suppress(OSError):
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append((folder.stat().st_mtime, size, folder))
        total = 0
        for number, (_, size, folder) in enumerate(sorted(found, reverse=True)):
            total += size
            if number and total > self._max_bytes and not self._in_use[folder.name]:
                shutil.rmtree(folder, ignore_errors=True)
