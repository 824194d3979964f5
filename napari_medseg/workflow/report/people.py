"""Names on the page: labels by default, clear names if they are asked for."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case, Correction, Review
from napari_medseg.workflow.storage.deidentify import number_readers


@dataclass(frozen=True)
class Names:
    """How readers, groups and cases are called on the page.

    Parameters
    ----------
    are_clear
        Whether they are clear names.
    readers, groups
        Label of an account, and clear name of a keyed group; both by what the database holds.
    """

    are_clear: bool
    readers: dict[str, str] = field(repr=False)
    groups: dict[str, str] = field(repr=False)

    def name_reader(self, account: str) -> str:
        """Return ``reader 1``, or the account."""
        return account if self.are_clear else self.readers.get(account, account)

    def name_group(self, group: str) -> str:
        """Return ``patient 12``, or its clear name."""
        return self.groups.get(group, group) if self.are_clear else get_group_label(group)

    def name_case(self, case: Case) -> str:
        """Return ``patient 12 case 3``, or the name of its file."""
        return (case.file_name or case.name) if self.are_clear else case.name


def choose_names(project: Project, *, clear: bool) -> Names:
    """Return the names for a page, in the order of work: the first reader is the one who reviewed first."""
    accounts: Iterable[str] = [
        *(review.who for review in project.read_records(Review)),
        *(correction.who for correction in project.read_records(Correction)),
    ]
    return Names(clear, number_readers(list(accounts)), project.identities.read_groups() if clear else {})
