"""The person who corrects now. The name stands in the preferences and in `identities`; rows know a label."""

import getpass

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.name_matching import fold_name, unify_name
from napari_medseg.core.project.identities import Identities
from napari_medseg.workflow.preferences import Preferences, read_preferences, write_preferences

MAX_NAME_CHARACTERS = 80


class CurrentReader:
    """The person who works with an open project; `Workspace.reader`. Use it in the main thread.

    Until a name is given, it is that of the account. The first name that is given is that of the same person: earlier
    corrections of the account are theirs. Any later one is another person.

    Parameters
    ----------
    identities, registry
        The clear names of the project, and the registry, beside which the preferences lie.
    """

    def __init__(self, identities: Identities, registry: ModelRegistry) -> None:
        self._identities = identities
        self._registry = registry
        self._account = get_user_name()
        preferences = read_preferences(registry)
        self._name, self._account_name = preferences.reader, preferences.account_reader

    @property
    def name(self) -> str:
        """The clear name, for the window only."""
        return self._name or self._account

    @property
    def is_named(self) -> bool:
        """Whether a name was given, so that nobody has to be asked."""
        return bool(self._name)

    @property
    def label(self) -> str:
        """The label in this project, such as ``reader 2``; empty if the person has done nothing in it."""
        found = self._identities.find_reader(self.name)
        if not found and self._is_of_account():
            found = self._identities.find_reader(self._account)
        return found

    def key(self) -> str:
        """Return the label; a new person gets one."""
        label = self.label
        if label and self._identities.find_reader(self.name) != label:
            self._identities.rename_reader(label, self.name)
        return label or self._identities.key_reader(self.name)

    def set_name(self, name: str) -> None:
        """Say who works from now on; it is kept in the preferences.

        Raises
        ------
        MedSegError
            If the name is empty or too long, or the preferences cannot be written.
        """
        name = clean_name(name)
        preferences = read_preferences(self._registry)
        changes = {"reader": name, "account_reader": preferences.account_reader or name}
        write_preferences(self._registry, preferences.model_copy(update=changes))
        self.follow(preferences.model_copy(update=changes))

    def follow(self, preferences: Preferences) -> None:
        """Use the name of preferences that were written."""
        self._name, self._account_name = preferences.reader, preferences.account_reader

    def list_names(self) -> list[str]:
        """Return the clear names of all who worked in this project, and of the one who works now."""
        known = list(self._identities.read_readers().values())
        return known if self.label else [*known, self.name]

    def _is_of_account(self) -> bool:
        return fold_name(self.name) == fold_name(self._account_name)


def clean_name(name: str) -> str:
    """Return a name in one form: composed Unicode, single spaces; raise `MedSegError` if it is none."""
    name = " ".join(unify_name(name).split())
    if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise MedSegError(
            f"a name of 1 to {MAX_NAME_CHARACTERS} letters is needed. It stays on this computer: other files hold "
            "labels such as 'reader 2'."
        )
    return name


def get_user_name() -> str:
    """Return the name of the account of the operating system."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have a number and no name
        return "unknown"
