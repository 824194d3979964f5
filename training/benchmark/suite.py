"""A suite: recipes that are trained and scored on one data set with one split, as one TOML file. No torch here."""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.json_model import format_validation_error
from training.from_folders.base_recipe import ModelRecipe
from training.recipe_keys import merge_keys

Settings = dict[str, Any]


class SuiteRow(BaseModel):
    """One line of a suite's table.

    `set` contains the keys of a `ModelRecipe` that differ from the suite's `base`; `theirs` is the published score of
    the reference system on its own data. `recommended` marks the recipe recommended by this project. At the reduced
    size the keys of `reduced` are applied too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    set: Settings = {}
    reduced: Settings = {}
    theirs: str = ""
    recommended: bool = False


class Suite(BaseModel):
    """Rows with a common base; `reduced` contains the changes of `--reduced`, for small machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    about: str = ""
    base: Settings
    reduced: Settings = {}
    rows: tuple[SuiteRow, ...] = Field(min_length=1)

    def select_rows(self, names: Sequence[str]) -> "Suite":
        """Return the suite with these rows only, in the order of the suite; all rows if no name is given.

        Raises
        ------
        MedSegError
            If a row does not exist; the text lists the rows.
        """
        have = [row.name for row in self.rows]
        if unknown := [name for name in names if name not in have]:
            raise MedSegError(f"{self.title!r} has no rows {unknown}; choose among {have}.")
        return self.model_copy(update={"rows": tuple(row for row in self.rows if not names or row.name in names)})

    def expand_grid(self, models: Sequence[str], backbones: Sequence[str]) -> "Suite":
        """Return the suite with one row for each combination of model and backbone instead of its rows.

        Names are those of `networks.ARCHITECTURES` and of encoders. Without backbones, models use their default.
        """
        rows = []
        for model, backbone in itertools.product(models, backbones or [""]):
            architecture = {"name": model, "encoder": backbone}
            rows.append(SuiteRow(name=f"{model} {backbone}".strip(), set={"card": {"architecture": architecture}}))
        return self.model_copy(update={"rows": tuple(rows)}) if rows else self

    def make_reduced(self) -> "Suite":
        """Return the suite at its reduced size; keys of a row take precedence over those of the base."""
        rows = tuple(row.model_copy(update={"set": merge_settings(row.set, row.reduced)}) for row in self.rows)
        changes = {"base": merge_settings(self.base, self.reduced), "title": f"{self.title} (reduced)", "rows": rows}
        return self.model_copy(update=changes)

    def build_recipes(self, changes: Sequence[Settings] = ()) -> Iterator[tuple[SuiteRow, ModelRecipe]]:
        """Yield each row with its complete recipe: the base, the row's keys, then `changes` in their order.

        Raises
        ------
        MedSegError
            If a row has unknown or missing keys; the text names row and keys.
        """
        for row in self.rows:
            settings = self.base
            for change in ({"card": _make_name_settings(row)}, {"recipe": _make_name_settings(row)}, row.set, *changes):
                settings = merge_settings(settings, change)
            try:
                yield row, ModelRecipe.model_validate(settings)
            except ValidationError as error:
                raise MedSegError(
                    f"row {row.name!r} is not a valid recipe: {format_validation_error(error)}. Correct the suite."
                ) from error


def read_suite(path: Path) -> Suite:
    """Read a suite; raise `MedSegError` naming every unknown or wrong key, or two rows of one name."""
    try:
        suite = Suite.model_validate(tomllib.loads(read_file(path).decode()))
    except ValidationError as error:
        reason = format_validation_error(error)
        raise MedSegError(f"{path.name} is not a valid suite: {reason}. See training/suites.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise MedSegError(f"cannot read the suite {path.name}: {get_reason(error)}. See training/suites.") from error
    folders = [make_folder_name(row.name) for row in suite.rows]
    if doubled := sorted({folder for folder in folders if folders.count(folder) > 1}):
        raise MedSegError(f"{path.name} has several rows called {doubled}. Give each row a different name.")
    return suite


def make_folder_name(row: str) -> str:
    """Return a row's name as a folder and model name: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", row.lower().replace("+", " plus ")).strip("-")


def merge_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Settings:
    """Return `old` updated with `new`, recursively; an architecture with a name does not keep the old options."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if not (isinstance(before, Mapping) and isinstance(value, Mapping)):
            result[key] = value
        elif key == "recipe":
            result[key] = merge_keys(before, value)
        elif key == "architecture" and "name" in value:
            result[key] = merge_settings({name: before[name] for name in before if name != "options"}, value)
        else:
            result[key] = merge_settings(before, value)
    return result


def parse_setting(text: str) -> Settings:
    """Parse a text such as ``recipe.schedule.n_epochs=5`` as a table; the value is TOML, or a string if it is not.

    Raises
    ------
    MedSegError
        If there is no key or no value.
    """
    key, sign, value = (part.strip() for part in text.partition("="))
    if not (key and sign and value):
        raise MedSegError(f"{text!r} is not a setting; write KEY=VALUE, for example recipe.schedule.n_epochs=5.")
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        return tomllib.loads(f"{key} = '{value}'")


def _make_name_settings(row: SuiteRow) -> Settings:
    """Return name and version of a row for its card and its recipe."""
    return {"name": make_folder_name(row.name), "version": 1}
