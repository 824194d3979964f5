"""The recipe of a base model: folders of labelled images, their split, and the model card. No torch here."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_medseg.core.formats.mask_placement import MaskOrientation, MaskPlacement
from napari_medseg.core.grouping.split import choose_validation_groups
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import ModelCard, PostprocessingStep
from napari_medseg.core.name_matching import compile_pattern, unify_name
from napari_medseg.core.snapshot import Role
from training.recipe import Recipe

UNLABELLED_KEYS = frozenset({"name", "images", "only", "group", "index", "group_column", "weight", "unlabelled"})
"""The keys that an unlabelled source may have."""


class FolderSource(BaseModel):
    """One folder of images with a folder of labels. If `labels` is empty, the images show none of the task's labels.

    `only` is a regular expression that the stem of a file has to match. The first capturing group of `group` in the
    stem is the patient; without `group` the whole source is one patient. A CSV file `index` with the columns `name` and
    `group_column` can name the patients instead; if it has a column `split`, patients with ``val`` are held out.
    `hold_out` and `validate_on` name patients, ``"*"`` means all. One in `validate_every` of the other patients, chosen
    by `core.grouping.split`, is used for validation too.

    `weight` is the relative frequency with which each image is drawn. Images are cropped to the region of interest in
    `field_labels`, a folder of labels, as the predictor does. `binarise` maps all values except 0 to label 1. The
    following steps change training labels only, never references: `drop_outside_air` removes pieces of labels at the
    image border that belong to no lung, `split_touching` numbers the objects of a binary mask, and `label_steps` names
    further steps. `ignored_value` marks unlabelled pixels. `label_sets` names the label values that stand for several
    classes of the network, for example ``{"1": [1, 2]}`` for a lesion of one kind or the other.
    `mask_orientation` and `same_voxels` tell how labels lie that do not say so, see `core.formats.mask_placement`.
    The images of an `unlabelled` source show anything: the network learns to say the same of two views of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    images: str
    labels: str = ""
    only: str = ""
    group: str = ""
    hold_out: tuple[str, ...] = ()
    validate_on: tuple[str, ...] = ()
    validate_every: int = Field(0, ge=0)
    weight: float = Field(1.0, gt=0)
    field_labels: str = ""
    index: str = ""
    group_column: str = "group"
    binarise: bool = False
    drop_outside_air: bool = False
    split_touching: bool = False
    label_steps: tuple[PostprocessingStep, ...] = ()
    ignored_value: int | None = Field(None, ge=1)
    label_sets: dict[int, tuple[int, ...]] = {}
    mask_orientation: MaskOrientation | None = None
    same_voxels: bool = False
    unlabelled: bool = False

    @model_validator(mode="after")
    def _has_nothing_of_labels_if_unlabelled(self) -> Self:
        if self.unlabelled and (others := sorted(self.model_fields_set - UNLABELLED_KEYS)):
            raise ValueError(f"the source {self.name!r} is unlabelled; remove {others}")
        return self

    @property
    def placement(self) -> MaskPlacement:
        """How labels lie that do not say so."""
        return MaskPlacement(self.mask_orientation, self.same_voxels)

    def assign_roles(self, stems: Sequence[str], data: Path) -> dict[str, tuple[str, Role]]:
        """Return the patient and the role of each file; `data` is the folder of the index."""
        rows = self._read_index(data)
        group_of = {
            stem: unify_name(rows[unify_name(stem)][self.group_column] if rows else self._find_group(stem))
            for stem in stems
        }
        judging = (row[self.group_column] for row in rows.values() if row.get("split") == "val")
        held_out = {unify_name(group) for group in (*self.hold_out, *judging)}
        validating = {unify_name(group) for group in self.validate_on}
        if self.validate_every:
            rest = set(group_of.values()) - held_out
            validating |= set(choose_validation_groups(rest, min_groups=1, one_in=self.validate_every))

        def role(group: str) -> Role:
            for name, groups in ((Role.HOLD_OUT, held_out), (Role.VALIDATE, validating)):
                if group in groups or "*" in groups:
                    return name
            return Role.TRAIN

        return {stem: (group, role(group)) for stem, group in group_of.items()}

    def _read_index(self, data: Path) -> dict[str, dict[str, str]]:
        if not self.index:
            return {}
        with (data / self.index).open(newline="", encoding="utf-8") as file:
            return {unify_name(row["name"]): row for row in csv.DictReader(file)}

    def _find_group(self, stem: str) -> str:
        match = compile_pattern(self.group).search(unify_name(stem)) if self.group else None
        return match.group(1) if match else ""


class ModelRecipe(BaseModel):
    """All settings of a base model: card, start weights, sources, recipe.

    `encoder_weights` is ``"imagenet"``, a safetensors file (absolute, or relative to the folder of weights), a version
    whose encoder is used, or ``"none"``: see `networks.initialise_encoder`. If neither it nor a parent is named, all
    weights start at random as with ``"none"``; log, events and card report this. `weights_from` is a version
    or its folder; its matching weights are copied, as for a new task. `parent`, such as ``lungs-unet@1``, is a version
    to go on from. Both are bundled, or in the folder of weights. The figure of the worst case is distributed with the
    version; it shows the image only if `images_may_be_shown` is true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: ModelCard
    encoder_weights: str = ""
    weights_from: str = ""
    labels_by: str = "the references of the sources"
    images_may_be_shown: bool = False
    parent: str = ""
    sources: tuple[FolderSource, ...]
    recipe: Recipe


def read_model_recipe(path: Path) -> ModelRecipe:
    """Read a base recipe; raise `MedSegError` naming every unknown or wrong key."""
    return read_json_model(path, ModelRecipe, "is not a valid base recipe", "See training/recipes/lungs.json.")
