"""What the header of an image says about how it was made: kind of object, body part and view."""

from dataclasses import dataclass
from typing import Literal

View = Literal["", "frontal", "lateral", "oblique", "decubitus", "localizer"]
"""Direction of a projection, empty if the header does not say it. ``"decubitus"``: frontal, of a patient lying on one
side. ``"localizer"``: the scout of a CT or MR."""


@dataclass(frozen=True)
class Acquisition:
    """How an image was made; a field is empty if the header does not say it, as in formats other than DICOM.

    Parameters
    ----------
    sop_class
        Name of the DICOM SOP class, such as ``"CT Image Storage"``.
    body_part
        Body part in the words of the header, such as ``"CHEST"``.
    view
        View of a projection.
    """

    sop_class: str = ""
    body_part: str = ""
    view: View = ""
