"""New UIDs and patient names for shared DICOM files: keyed hashes, so that the same object always gets the same one."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

_STANDARD_ROOT = "1.2.840.10008."
"""UIDs of the standard itself: SOP classes, transfer syntaxes, well-known frames of reference."""


@dataclass(frozen=True, eq=False)
class Pseudonyms:
    """Replaces UIDs and patients; without the key nobody finds the old ones.

    Parameters
    ----------
    key
        Secret of the project. With the same key, several series and later exports fit together.
    uids, patients
        What was replaced so far, by the new text: for the project's table, never for the shared files.
    """

    key: bytes = field(repr=False)
    uids: dict[str, str] = field(default_factory=dict, repr=False)
    patients: dict[str, str] = field(default_factory=dict, repr=False)

    def replace_uid(self, uid: str) -> str:
        """Return the new UID of an old one (PS3.5, B.2); UIDs of the standard stay."""
        if not uid or uid.startswith(_STANDARD_ROOT):
            return uid
        new = f"2.25.{int.from_bytes(self._hash('uid', uid)[:16], 'big') >> 1}"
        self.uids[new] = uid
        return new

    def replace_uids(self, uids: object) -> str | list[str]:
        """Return the new UID of each of one or several."""
        if isinstance(uids, Sequence) and not isinstance(uids, str):
            return [self.replace_uid(str(uid)) for uid in uids]
        return self.replace_uid(str(uids or ""))

    def name_patient(self, patient: str) -> str:
        """Return the new name and id of a patient, such as ``P3f9a2c41d07be512``."""
        new = f"P{self._hash('patient', patient)[:8].hex()}"
        self.patients[new] = patient
        return new

    def _hash(self, kind: str, text: str) -> bytes:
        return hmac.digest(self.key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256)
