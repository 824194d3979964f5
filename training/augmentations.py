"""How strongly patches are changed, by name: one line in `AUGMENTATIONS` adds a set; a recipe or a task names it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Augmentation:
    """Ranges of what is drawn for each patch. Grey values are in [0, 1], before mean and std.

    Parameters
    ----------
    scale
        Size of the plane against the one that the predictor sees, drawn evenly in its logarithm.
    rotation_deg, stretch
        Largest tilt to either side; largest relative change of the ratio of the sides.
    framed_share
        Share of patches that show all labels of the plane as large as they fit, as a picture cropped to the organ.
    mirror_share, border_share
        Share of patches mirrored left to right; share whose outside repeats the border instead of being black.
    contrast, brightness, gamma, saturation
        Factor about mid-grey; offset; exponent; share of the grey range that is kept (the rest is clipped to white).
    noise, blur_px
        Standard deviations, largest.
    tint
        Largest relative change of each colour's brightness.
    stain
        Largest relative change of each stain's density (H&E; Tellez et al., Whole-slide mitosis detection, TMI 2018).
    cutout_share
        Share of patches in which a rectangle is made grey: what lies beside it has to do (DeVries & Taylor, 2017).
    gas_share
        Share of patches in which pockets of air are put into unlabelled tissue: not all that is dark is the organ.
    shadow_share
        Share of patches in which patches of lung are filled up to the brightness of tissue, as by pneumonia: what is
        bright at the wall may be lung.
    intensity_share
        Share of patches for each of the changes of grey values.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    rotation_deg: float = 0.0
    stretch: float = 0.0
    framed_share: float = 0.0
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
    shadow_share: float = 0.0
    intensity_share: float = 0.5


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
AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "ct": _STRONG,
    "chest": replace(_STRONG, shadow_share=0.2),
    "lesions": replace(
        _STRONG, scale=(0.6, 1.5), saturation=(0.7, 1.0), contrast=(0.75, 1.3), gamma=(0.7, 1.4), gas_share=0.0
    ),
    "histology": _HISTOLOGY,
    "endoscopy": _ENDOSCOPY,
    # A few replayed slices stand for all that a model has learnt from: whole bodies and pictures cropped to the lungs.
    "replay": replace(_STRONG, framed_share=0.5),
    "gentle": Augmentation(
        scale=(0.5, 1.2),
        rotation_deg=10.0,
        stretch=0.1,
        framed_share=0.5,
        mirror_share=0.5,
        contrast=(0.8, 1.25),
        brightness=0.1,
        gamma=(0.8, 1.25),
        noise=0.04,
        blur_px=1.0,
    ),
}


def augmentation_named(name: str) -> Augmentation:
    """Return an augmentation; raise `ValueError` listing the choices where there is none of that name."""
    if name not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {name!r}; choose one of {sorted(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]
