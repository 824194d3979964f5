"""The two notations of recipe settings: in groups, or with the flat keys of older recipes.

Older run folders, `--recipe` files, suites and `--set` options write `n_epochs = 5`; the current notation is
`schedule.n_epochs = 5`. Both have the same meaning, and one file may use both. No torch here.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails

SettingPath = tuple[str, ...]
"""Group and field; only the key if it belongs to no group."""

FLAT_KEYS: dict[str, SettingPath] = {
    "base": ("run", "base"),
    "field_base": ("run", "roi_model"),
    "compare_with": ("run", "compare_with"),
    "name": ("run", "name"),
    "version": ("run", "version"),
    "budget_s": ("run", "budget_s"),
    "seed": ("run", "seed"),
    "device": ("run", "device"),
    "n_threads": ("run", "n_threads"),
    "precision": ("run", "precision"),
    "checkpoint_every_s": ("run", "checkpoint_every_s"),
    "checkpoint_every_steps": ("run", "checkpoint_every_steps"),
    "tensorboard": ("run", "tensorboard"),
    "batch_size": ("data", "batch_size"),
    "patch_px": ("data", "patch_px"),
    "sampling": ("data", "sampling"),
    "window_overlap_px": ("data", "window_overlap_px"),
    "foreground_share": ("data", "foreground_share"),
    "label_steps": ("data", "label_steps"),
    "paste": ("data", "paste"),
    "unlabelled": ("data", "unlabelled"),
    "augmentation": ("augmentation", "preset"),
    "replay_augmentation": ("augmentation", "replay_preset"),
    "augmentation_strength": ("augmentation", "strength"),
    "loss": ("loss", "terms"),
    "class_weights": ("loss", "class_weights"),
    "optimiser": ("optimiser", "name"),
    "learning_rate": ("optimiser", "learning_rate"),
    "encoder_rate_factor": ("optimiser", "encoder_rate_factor"),
    "weight_decay": ("optimiser", "weight_decay"),
    "max_gradient_norm": ("optimiser", "max_gradient_norm"),
    "accumulate": ("optimiser", "accumulate"),
    "ema_decay": ("optimiser", "ema_decay"),
    "schedule": ("schedule", "name"),
    "n_epochs": ("schedule", "n_epochs"),
    "steps_per_epoch": ("schedule", "steps_per_epoch"),
    "n_cycles": ("schedule", "n_cycles"),
    "patience": ("schedule", "patience"),
    "keep": ("schedule", "keep"),
    "stage_start": ("schedule", "stage_start"),
    "replay_share": ("fine_tuning", "replay_share"),
    "distillation": ("fine_tuning", "distillation"),
    "average_with_parent": ("fine_tuning", "average_with_parent"),
    "freeze_batch_norm": ("fine_tuning", "freeze_batch_norm"),
    "freeze_encoder_stages": ("fine_tuning", "freeze_encoder_stages"),
    "low_rank": ("fine_tuning", "low_rank"),
}
"""Every flat key, with the current group and field of the setting."""

GROUPS = frozenset(path[0] for path in FLAT_KEYS.values())
STAGES = "stages"


def find_keys(written: Mapping[str, Any], settings: Collection[SettingPath]) -> list[str]:
    """Return the names of those settings that a table of recipe keys contains, as written in the table."""
    return [name for name, path, _ in _list_settings(written) if path in settings]


def nest_keys(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of recipe keys with every setting in its group, also in its stages.

    Unknown keys are not moved.

    Raises
    ------
    ValueError
        If a setting is written twice, once in each notation.
    """
    nested: dict[str, Any] = {}
    names: dict[SettingPath, str] = {}
    for name, path, value in _list_settings(written):
        if path in names:
            raise ValueError(f"{names[path]} and {name} are the same setting; remove one of them")
        names[path] = name
        if len(path) > 1:
            group = nested.setdefault(path[0], {})
            if isinstance(group, dict):  # else validation reports an error later
                group[path[1]] = value
        elif name == STAGES and isinstance(value, list | tuple):
            nested[name] = tuple(nest_keys(stage) if isinstance(stage, Mapping) else stage for stage in value)
        else:
            nested[name] = value
    return nested


def merge_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table `old` updated with the settings of `new`; all keys keep their notation."""
    merged = _drop_settings(old, {path for _, path, _ in _list_settings(new)})
    for key, value in new.items():
        has_settings = isinstance(value, Mapping) or key in FLAT_KEYS
        if key in merged and key in GROUPS and has_settings:
            merged[key] = _make_group(key, merged[key]) | _make_group(key, value)
        else:
            merged[key] = value
    return merged


def flatten_keys(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of recipe keys with every setting under its flat key, for text."""
    names = {path: key for key, path in FLAT_KEYS.items()}
    return {names.get(path, name): value for name, path, value in _list_settings(written)}


def name_as_written(error: ValidationError, written: Mapping[str, Any]) -> ValidationError:
    """Return a validation error of a recipe with the keys as the user wrote them, in the table or in a stage.

    Parameters
    ----------
    error
        Error of the recipe with its settings in groups.
    written
        The table before its settings were moved into groups.
    """
    names = {path: name for name, path, _ in _list_settings(written)}
    for stage in list_stages(written):
        names |= {path: name for name, path, _ in _list_settings(stage)}
    details: list[InitErrorDetails] = []
    for item in error.errors(include_url=False):
        name = names.get(_as_path(item["loc"][:2]), "")
        loc = (name, *item["loc"][2:]) if name in FLAT_KEYS else item["loc"]
        details.append(InitErrorDetails(type=item["type"], loc=loc, input=item["input"], ctx=item.get("ctx", {})))
    return ValidationError.from_exception_data(error.title, details)


def list_stages(written: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the stages of a table of recipe keys; entries that are not tables are skipped."""
    stages = written.get(STAGES)
    return [stage for stage in stages if isinstance(stage, Mapping)] if isinstance(stages, list | tuple) else []


def _list_settings(written: Mapping[str, Any]) -> Iterator[tuple[str, SettingPath, Any]]:
    """Yield the name of each setting as written in a table, its path, and its value."""
    for key, value in written.items():
        if key in GROUPS and isinstance(value, Mapping | BaseModel):
            for field, inner in dict(value).items():
                yield f"{key}.{field}", (key, field), inner
        else:
            yield key, FLAT_KEYS.get(key, (key,)), value


def _drop_settings(written: Mapping[str, Any], settings: Collection[SettingPath]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in written.items():
        if key in GROUPS and isinstance(value, Mapping):
            kept[key] = {field: inner for field, inner in value.items() if (key, field) not in settings}
        elif FLAT_KEYS.get(key, (key,)) not in settings:
            kept[key] = value
    return kept


def _make_group(key: str, value: object) -> dict[str, Any]:
    """Return the table of a group; a flat value such as `optimiser = "sgd"` becomes a table with this one setting."""
    return dict(value) if isinstance(value, Mapping) else {FLAT_KEYS.get(key, (key,))[-1]: value}


def _as_path(loc: tuple[int | str, ...]) -> SettingPath:
    return tuple(str(part) for part in loc)
