"""How a base model is made: on which folders of labelled images, split how, from which card. No torch here."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import ModelCard, PostprocessingStep
from napari_medseg.core.snapshot import Role
from napari_medseg.core.split import choose_validation_groups
from training.recipe import Recipe


class FolderSource(BaseModel):
    """One folder of images, with a folder of labels or, where `labels` is empty, without any of the task's
    organs.

    `only` is a regular expression that a file's stem has to match; the first parenthesis of `group` in the stem is the
    patient, without it the whole source is one patient. `hold_out` and `validate_on` name patients, ``"*"`` all of
    them; of the others one patient in `validate_every`, chosen as `core.split` says, validates too. A CSV `index` with
    columns `name` and `group_column` names patients instead; where it has a column `split`, patients that say ``val``
    are held out. `weight` is how often each image is drawn; it is cropped to `field_labels`, a folder of the field's
    labels, as the predictor does. `binarise` takes all values but 0 for label 1. `drop_outside_air` removes pieces of
    labels at the picture's border that belong to no lung, `split_touching` numbers the objects of a binary mask, and
    `label_steps` names more of that kind: from training labels only, references stay untouched. Labels of
    `ignored_value` mark what nobody decided on.
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

    def assign_roles(self, stems: Sequence[str], data: Path) -> dict[str, tuple[str, Role]]:
        """Return the patient of each file, and what that patient's images are for; `data` is where the index lies."""
        rows = self._read_index(data)
        group_of = {stem: rows[stem][self.group_column] if rows else self._find_group(stem) for stem in stems}
        held_out = {*self.hold_out, *(row[self.group_column] for row in rows.values() if row.get("split") == "val")}
        validating = set(self.validate_on)
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
            return {row["name"]: row for row in csv.DictReader(file)}

    def _find_group(self, stem: str) -> str:
        match = re.search(self.group, stem) if self.group else None
        return match.group(1) if match else ""


class ModelRecipe(BaseModel):
    """All that decides a base model: card, pretrained encoder, sources, recipe.

    `encoder_weights` is ``"imagenet"``, a safetensors file (relative to the weights' folder, or anywhere), a version
    whose encoder is taken, or ``"none"``: see `networks.initialise_encoder`. Where neither it nor a parent is named,
    all weights begin at random as with ``"none"``; log, events and card say so. `weights_from` is the folder of a
    version whose weights are taken where they fit, as for a task that is new. `parent`, as in ``lungs-unet@1``, is a
    bundled version to start from instead of random weights and the encoder. The picture of the worst case shows the
    image only where `images_may_be_shown`: it is shipped with the version.
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
    return read_json_model(path, ModelRecipe, "is no base recipe", "See training/recipes/lungs.json.")
