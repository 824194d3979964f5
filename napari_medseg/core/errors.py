"""The one error that people see: it says what is wrong, what was expected and what to do."""


class MedSegError(Exception):
    """A condition a person can act on. Its text is shown as it is, without a traceback.

    Anything that is not a `MedSegError` is a bug and keeps its traceback.
    """


class GridMismatchError(MedSegError):
    """Labels and image differ in size or place."""


class IrregularSlicesError(MedSegError):
    """Slices of one series that are no regular volume, but can still be opened one by one."""
