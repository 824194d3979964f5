"""Which reader napari uses for medical files, in its own preferences."""

from napari.settings import get_settings

PLUGIN_NAME = "napari-medseg"
MEDICAL_FILE_PATTERNS = ("*.dcm", "*.dicom", "*.ima", "*.nii", "*.nii.gz")


def prefer_our_reader() -> list[str]:
    """Let medical files open with our reader wherever the user has no preference; return the patterns that are new.

    napari's builtin reader takes them too, without orientation, spacing or Hounsfield units, and napari would ask for
    each file which of the two to use. Pictures and TIFFs are left alone: they are not ours by nature.
    """
    settings = get_settings().plugins
    new = [pattern for pattern in MEDICAL_FILE_PATTERNS if pattern not in settings.extension2reader]
    if new:
        settings.extension2reader = {**settings.extension2reader, **dict.fromkeys(new, PLUGIN_NAME)}
    return new
