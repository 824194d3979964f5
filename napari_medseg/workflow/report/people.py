"""Names on the page: labels by default; clear names and typed texts if they are asked for."""

from dataclasses import dataclass, field

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case


@dataclass(frozen=True)
class Names:
    """How readers, groups and cases are called on the page.

    Parameters
    ----------
    are_clear
        Whether they are clear names.
    readers, groups
        Clear name by the label of a reader, and by a keyed group; empty unless they are shown.
    """

    are_clear: bool
    readers: dict[str, str] = field(repr=False)
    groups: dict[str, str] = field(repr=False)

    def name_reader(self, label: str) -> str:
        """Return ``reader 1``, or the name of that person."""
        return self.readers.get(label, label)

    def name_group(self, group: str) -> str:
        """Return ``patient 12``, or its clear name."""
        return self.groups.get(group, group) if self.are_clear else get_group_label(group)

    def name_case(self, case: Case) -> str:
        """Return ``patient 12 case 3``, or the name of its file."""
        return (case.file_name or case.name) if self.are_clear else case.name


def choose_names(project: Project, *, clear: bool) -> Names:
    """Return the names for a page; without `clear`, nothing is read from the table of clear names."""
    if not clear:
        return Names(are_clear=False, readers={}, groups={})
    return Names(are_clear=True, readers=project.identities.read_readers(), groups=project.identities.read_groups())
