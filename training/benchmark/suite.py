"""A suite: recipes that are trained and scored on one data set with one split, as one TOML file. No torch here."""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import format_validation_error
from training.from_folders.base_recipe import ModelRecipe
from training.recipe_keys import merge_keys

Settings = dict[str, Any]


class SuiteRow(BaseModel):
    """One line of a suite's table.

    `set` holds the keys of a `ModelRecipe` in which the row differs from the suite's `base`; `theirs` is the figure of
    the reference system, on its own data. A `recommended` row is the suite's answer to the others. At the reduced
    size a row has the keys of `reduced` too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    set: Settings = {}
    reduced: Settings = {}
    theirs: str = ""
    recommended: bool = False


class Suite(BaseModel):
    """Rows over a common base; `reduced` is what `--reduced` changes so that a small machine can run it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    about: str = ""
    base: Settings
    reduced: Settings = {}
    rows: tuple[SuiteRow, ...] = Field(min_length=1)

    def select_rows(self, names: Sequence[str]) -> "Suite":
        """Return the suite with these rows only, in their order there; all where no name is given.

        Raises
        ------
        MedSegError
            If there is no row of such a name; the text lists them.
        """
        have = [row.name for row in self.rows]
        if unknown := [name for name in names if name not in have]:
            raise MedSegError(f"{self.title!r} has no rows {unknown}; choose among {have}.")
        return self.model_copy(update={"rows": tuple(row for row in self.rows if not names or row.name in names)})

    def expand_grid(self, models: Sequence[str], backbones: Sequence[str]) -> "Suite":
        """Return the suite with one row for each model with each backbone instead of its own rows.

        Names are those of `networks.ARCHITECTURES` and of encoders; a model without backbones has its own default.
        """
        rows = []
        for model, backbone in itertools.product(models, backbones or [""]):
            architecture = {"name": model, "encoder": backbone}
            rows.append(SuiteRow(name=f"{model} {backbone}".strip(), set={"card": {"architecture": architecture}}))
        return self.model_copy(update={"rows": tuple(rows)}) if rows else self

    def make_reduced(self) -> "Suite":
        """Return the suite at its reduced size; where a row has a key of its own, the row's counts."""
        rows = tuple(row.model_copy(update={"set": merge_settings(row.set, row.reduced)}) for row in self.rows)
        changes = {"base": merge_settings(self.base, self.reduced), "title": f"{self.title} (reduced)", "rows": rows}
        return self.model_copy(update=changes)

    def build_recipes(self, changes: Sequence[Settings] = ()) -> Iterator[tuple[SuiteRow, ModelRecipe]]:
        """Yield each row with its whole recipe: the base, the row's keys, then `changes` in their order.

        Raises
        ------
        MedSegError
            If a row has keys that no recipe has, or lacks some; the text names row and keys.
        """
        for row in self.rows:
            settings = self.base
            for change in ({"card": _make_name_settings(row)}, {"recipe": _make_name_settings(row)}, row.set, *changes):
                settings = merge_settings(settings, change)
            try:
                yield row, ModelRecipe.model_validate(settings)
            except ValidationError as error:
                raise MedSegError(
                    f"row {row.name!r} is no recipe: {format_validation_error(error)}. Correct the suite."
                ) from error


def read_suite(path: Path) -> Suite:
    """Read a suite; raise `MedSegError` naming every unknown or wrong key, or two rows of one name."""
    try:
        suite = Suite.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MedSegError(f"cannot read the suite {path.name}: {error}. See training/suites.") from error
    except ValidationError as error:
        raise MedSegError(f"{path.name} is no suite: {format_validation_error(error)}. See training/suites.") from error
    folders = [make_folder_name(row.name) for row in suite.rows]
    if doubled := sorted({folder for folder in folders if folders.count(folder) > 1}):
        raise MedSegError(f"{path.name} has several rows called {doubled}. Give each row a name of its own.")
    return suite


def make_folder_name(row: str) -> str:
    """Return a row's name as a folder and as a model: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", row.lower().replace("+", " plus ")).strip("-")


def merge_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Settings:
    """Return `old` with the keys of `new`, tables within tables alike; an architecture of another name is replaced."""
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
    """Read ``recipe.schedule.n_epochs=5`` as a table; the value is as in TOML, and a bare word a string.

    Raises
    ------
    MedSegError
        If there is no key or no value.
    """
    key, sign, value = (part.strip() for part in text.partition("="))
    if not (key and sign and value):
        raise MedSegError(f"{text!r} is no setting; write KEY=VALUE, as in recipe.schedule.n_epochs=5.")
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        return tomllib.loads(f"{key} = '{value}'")


def _make_name_settings(row: SuiteRow) -> Settings:
    """Where a card or a recipe wants a name and a version, the row's."""
    return {"name": make_folder_name(row.name), "version": 1}
