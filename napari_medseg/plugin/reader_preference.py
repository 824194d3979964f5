"""Set our reader for medical files in the preferences of napari."""

from napari.settings import get_settings

PLUGIN_NAME = "napari-medseg"
MEDICAL_FILE_PATTERNS = ("*.dcm", "*.dicom", "*.ima", "*.nii", "*.nii.gz")


def prefer_our_reader() -> list[str]:
    """Use our reader for medical files if the user has no other preference; return the added patterns.

    The built-in reader of napari also opens these files, but without orientation, spacing or Hounsfield units, and
    napari would ask for each file which reader to use. PNG, JPEG and TIFF files are not changed, because they are not
    medical formats.
    """
    settings = get_settings().plugins
    new = [pattern for pattern in MEDICAL_FILE_PATTERNS if pattern not in settings.extension2reader]
    if new:
        settings.extension2reader = {**settings.extension2reader, **dict.fromkeys(new, PLUGIN_NAME)}
    return new
