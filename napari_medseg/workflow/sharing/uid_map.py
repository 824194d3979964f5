"""The new UIDs and patient names of shared files, kept in the project's table of identities and nowhere else."""

from napari_medseg.core.dicom_sharing.pseudonyms import Pseudonyms
from napari_medseg.workflow.workspace import Workspace

_PURPOSE = "key of shared DICOM files, part"


def make_pseudonyms(ws: Workspace) -> Pseudonyms:
    """Return the pseudonyms of a project: the same ones every time. Call it in the main thread."""
    halves = [ws.project.identities.hash_text(f"{_PURPOSE} {number}") for number in (1, 2, 3, 4)]
    return Pseudonyms("".join(halves).encode())


def keep_pseudonyms(ws: Workspace, pseudonyms: Pseudonyms) -> None:
    """Write what was replaced into the project's table, so that a finding can be traced back to its patient there."""
    ws.project.identities.keep_shared(dict(pseudonyms.uids), dict(pseudonyms.patients))  # a thread may add to them
