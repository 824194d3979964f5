"""Augmentation presets. One line in `AUGMENTATIONS` adds a preset; a recipe or a task names it."""

from dataclasses import dataclass, fields, replace
from typing import Any

from napari_medseg.core.errors import look_up


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random parameters for each patch. Grey values are in [0, 1], before mean and std are applied.

    Parameters
    ----------
    scale
        Size of the plane relative to its size in prediction, log-uniform.
    rotation_deg, stretch
        Maximum rotation in both directions; maximum relative change of the aspect ratio.
    zoom_to_labels_share
        Share of patches that show all labels of the plane as large as possible, like an image cropped to the organ.
    mirror_share, border_share
        Share of patches mirrored left to right; share of patches where pixels outside the plane repeat its border
        instead of being black.
    contrast, brightness, gamma, saturation
        Factor around mid-grey; offset; exponent; share of the grey range that is kept (the rest is clipped to white).
    noise, blur_px
        Maximum standard deviations.
    tint
        Maximum relative change of the brightness of each channel.
    stain
        Maximum relative change of the density of each stain (H&E; Tellez et al., Whole-slide mitosis detection, TMI
        2018).
    cutout_share
        Share of patches with a grey rectangle, so that the model learns from context (DeVries & Taylor, 2017).
    gas_share
        Share of patches with artificial air pockets in unlabelled tissue, because not all dark pixels are the organ.
    consolidation_share
        Share of patches where parts of the lung are as bright as tissue, as in pneumonia, because bright pixels at the
        chest wall may be lung.
    intensity_share
        Share of patches for each intensity transform.
    flip_share
        Share of patches flipped upside down. Label values stay the same, because right and left are not exchanged.
    elastic_px
        Maximum standard deviation of smooth random displacements, in pixels of the patch (Simard et al., ICDAR 2003).
    lens
        Maximum shift of the corners of a patch by the distortion of a lens (barrel or pincushion), relative to half its
        diagonal. It grows with the cube of the distance from the centre (Brown, 1966).
    window
        Maximum shift of either end of the grey range, relative to the range: another CT window.
    equalise_share, clahe_share, smooth_share
        Share of patches changed by the step of this name in `inference.image_steps`.
    cutmix_share, mosaic_share
        Share of patches with a pasted rectangle of another patch; share of patches combined from four patches.
    mixup_share
        Share of batches whose patches, and their losses, are averaged in pairs.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    rotation_deg: float = 0.0
    stretch: float = 0.0
    zoom_to_labels_share: float = 0.0
    mirror_share: float = 0.0
    border_share: float = 0.3
    contrast: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    gamma: tuple[float, float] = (1.0, 1.0)
    saturation: tuple[float, float] = (1.0, 1.0)
    noise: float = 0.0
    blur_px: float = 0.0
    tint: float = 0.0
    stain: float = 0.0
    cutout_share: float = 0.0
    gas_share: float = 0.0
    consolidation_share: float = 0.0
    intensity_share: float = 0.5
    flip_share: float = 0.0
    elastic_px: float = 0.0
    lens: float = 0.0
    window: float = 0.0
    equalise_share: float = 0.0
    clahe_share: float = 0.0
    smooth_share: float = 0.0
    cutmix_share: float = 0.0
    mosaic_share: float = 0.0
    mixup_share: float = 0.0


_DEFAULTS = Augmentation()

_UNSCALED = frozenset({"border_share", "intensity_share"})
"""Settings that do not depend on the strength: pixels outside the plane, and the share of intensity transforms."""

_FACTORS = frozenset({"scale", "contrast", "gamma"})
"""Ranges around 1; the strength is their exponent."""

_CAPPED_AT_HALF = frozenset({"mirror_share", "flip_share"})

_CEILINGS = {"stretch": 0.9, "tint": 0.9, "stain": 0.9, "window": 0.45, "lens": 0.3}
"""Maximum values; larger ones would make sides, colours or the grey range vanish."""

_STRONG = Augmentation(
    scale=(0.5, 1.5),
    rotation_deg=15.0,
    stretch=0.15,
    mirror_share=0.5,
    contrast=(0.7, 1.4),
    brightness=0.15,
    gamma=(0.6, 1.7),
    saturation=(0.45, 1.0),
    noise=0.08,
    blur_px=1.5,
    gas_share=0.25,
)
_HISTOLOGY = Augmentation(
    scale=(0.45, 1.3),
    rotation_deg=180.0,
    stretch=0.15,
    mirror_share=0.5,
    contrast=(0.75, 1.3),
    brightness=0.1,
    gamma=(0.75, 1.35),
    tint=0.08,
    stain=0.3,
    noise=0.04,
    blur_px=1.2,
)
_ENDOSCOPY = Augmentation(
    scale=(0.5, 2.0),
    rotation_deg=60.0,
    stretch=0.2,
    mirror_share=0.5,
    contrast=(0.65, 1.5),
    brightness=0.2,
    gamma=(0.55, 1.8),
    saturation=(0.7, 1.0),
    tint=0.3,
    noise=0.06,
    blur_px=2.5,
    cutout_share=0.35,
)
_SINGLE = {
    "blur": Augmentation(blur_px=2.0),
    "brightness": Augmentation(brightness=0.2),
    "clahe": Augmentation(clahe_share=0.5),
    "contrast": Augmentation(contrast=(0.7, 1.4)),
    "elastic": Augmentation(elastic_px=6.0),
    "equalise": Augmentation(equalise_share=0.5),
    "flip": Augmentation(flip_share=0.5),
    "gamma": Augmentation(gamma=(0.6, 1.7)),
    "noise": Augmentation(noise=0.1),
    "scale": Augmentation(scale=(0.5, 1.5)),
    "smooth": Augmentation(smooth_share=0.5),
    "stain": Augmentation(stain=0.3),
    "window": Augmentation(window=0.15),
    "mixup": Augmentation(mixup_share=0.5),
    "mosaic": Augmentation(mosaic_share=0.5),
    "rotation": Augmentation(rotation_deg=30.0),
}
"""Single augmentations, to measure the effect of each; combine them as in ``"mirror+rotation+noise"``."""

_REFERENCE_SYSTEMS = {
    # A (lungs), each alone. The content of its Albumentations set is not published; these are usual transforms.
    "mirror": Augmentation(mirror_share=0.5),
    "cutmix": Augmentation(cutmix_share=0.5),
    "albumentations": Augmentation(
        mirror_share=0.5, scale=(0.9, 1.1), rotation_deg=20.0, contrast=(0.8, 1.2), brightness=0.2
    ),
    "cutout": Augmentation(cutout_share=0.5),
    # C (nuclei): overlapping windows are its only augmentation; `sampling` in the recipe makes them.
    "histology_windows": Augmentation(),
    # D (lesions): the rotation angle is not published.
    "heavy": Augmentation(rotation_deg=45.0, mirror_share=0.5, flip_share=0.5, noise=0.1),
}
_LESIONS = replace(
    _STRONG, scale=(0.6, 1.5), saturation=(0.7, 1.0), contrast=(0.75, 1.3), gamma=(0.7, 1.4), gas_share=0.0
)
AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "ct": _STRONG,
    "chest": replace(_STRONG, consolidation_share=0.2),
    # Chests from the neck to the abdomen: whole bodies and images cropped to the lungs, in many grey windows.
    "chest_wide": replace(
        _STRONG,
        scale=(0.45, 1.4),
        consolidation_share=0.08,
        zoom_to_labels_share=0.15,
        window=0.1,
        equalise_share=0.05,
    ),
    "lesions": _LESIONS,
    # For few slices with lesions: elastic deformation and CutMix.
    "lesions_rich": replace(_LESIONS, elastic_px=4.0, window=0.1, clahe_share=0.1, smooth_share=0.1, cutmix_share=0.3),
    "histology": _HISTOLOGY,
    "endoscopy": _ENDOSCOPY,
    # Cameras of other operating rooms: colours of light and white balance, wide-angle lenses, blur; CutMix.
    "endoscopy_rich": replace(
        _ENDOSCOPY, tint=0.45, saturation=(0.6, 1.0), blur_px=3.0, lens=0.12, clahe_share=0.1, cutmix_share=0.25
    ),
    # Few replayed slices represent all earlier training images: whole bodies and images cropped to the lungs.
    "replay": replace(_STRONG, zoom_to_labels_share=0.5),
    "gentle": Augmentation(
        scale=(0.5, 1.2),
        rotation_deg=10.0,
        stretch=0.1,
        zoom_to_labels_share=0.5,
        mirror_share=0.5,
        contrast=(0.8, 1.25),
        brightness=0.1,
        gamma=(0.8, 1.25),
        noise=0.04,
        blur_px=1.0,
    ),
    # As "ct", with all augmentations that preserve anatomy: for few images and long runs.
    "ct_rich": replace(
        _STRONG, elastic_px=4.0, window=0.15, equalise_share=0.1, clahe_share=0.1, smooth_share=0.1, cutout_share=0.2
    ),
    "histology_rich": replace(
        _HISTOLOGY, flip_share=0.5, elastic_px=3.0, clahe_share=0.1, cutmix_share=0.25, mosaic_share=0.15
    ),
    **_SINGLE,
    **_REFERENCE_SYSTEMS,
}


def get_augmentation(name: str) -> Augmentation:
    """Return a preset, or several combined as in ``"mirror+noise"``; for the same setting, the last preset is used.

    Raises
    ------
    MedSegError
        If a preset is unknown; the text lists the choices.
    """
    together = Augmentation()
    for part in name.split("+"):
        found = look_up(AUGMENTATIONS, part, "augmentation", advice=", or several as in mirror+noise")
        said = {field.name: getattr(found, field.name) for field in fields(Augmentation)}
        together = replace(together, **{key: value for key, value in said.items() if value != getattr(_DEFAULTS, key)})
    return together


def scale_augmentation(augmentation: Augmentation, strength: float) -> Augmentation:
    """Scale all ranges and shares: 0 means no augmentation, 1 the preset, 2 twice as much.

    Shares are limited to 1, and those of mirroring and flipping to 0.5, which gives the largest variety.
    """
    if strength == 1.0:
        return augmentation
    changes: dict[str, Any] = {
        field.name: _scale_setting(field.name, getattr(augmentation, field.name), strength)
        for field in fields(augmentation)
        if field.name not in _UNSCALED
    }
    return replace(augmentation, **changes)


def _scale_setting(name: str, value: float | tuple[float, float], strength: float) -> float | tuple[float, float]:
    if name in _FACTORS and isinstance(value, tuple):
        return value[0] ** strength, value[1] ** strength
    if isinstance(value, tuple):  # saturation: a share that is kept
        return max(0.05, 1.0 - strength * (1.0 - value[0])), value[1]
    if name in _CAPPED_AT_HALF:
        return min(value * strength, max(value, 0.5))
    ceiling = 1.0 if name.endswith("_share") else _CEILINGS.get(name, float("inf"))
    return min(value * strength, ceiling)
