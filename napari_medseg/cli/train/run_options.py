"""Options that several training commands share, and how they are read."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.from_folders.default_recipe import RecipeOverrides


def check_png_suffix(png: Path | None) -> Path | None:
    """Reject a file that is not a PNG file, so that a run folder or recipe named by mistake is not overwritten."""
    if png is not None and png.suffix.lower() != ".png":
        raise typer.BadParameter(f"{png} does not end in .png.")
    return png


BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget", help="Time limit in seconds, from the command to the result.", min=1.0, show_default=False
    ),
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Number of epochs.", min=1, show_default=False)]
SeedOption = Annotated[int, typer.Option("--seed", help="Random seed. On a CPU, equal seeds give equal results.")]
RecipeOption = Annotated[
    Path | None,
    typer.Option("--recipe", help="JSON or TOML file of settings to change.", show_default=False),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="Network to train, such as unet, deeplabv3plus or segnet; see docs/learning.md.",
        show_default="chosen from the images",
        rich_help_panel="Network",
    ),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        help="Encoder of the network, such as resnet50.",
        show_default="that of the network",
        rich_help_panel="Network",
    ),
]
PromoteOption = Annotated[bool, typer.Option("--promote", help="Make the new version live if it is better.")]
ReasonOption = Annotated[
    str,
    typer.Option(
        "--reason",
        help="With --promote: make it live in any case. The reason is stored on its card.",
        show_default=False,
    ),
]


def check_device(device: str | None) -> str | None:
    """Return the name of a device that computes; raise `MedSegError` with the choices for any other."""
    if not device:
        return None
    from napari_medseg.inference.device import choose_device

    return str(choose_device(device))


def read_run_overrides(
    recipe: Path | None,
    epochs: int | None,
    budget_s: float | None,
    seed: int,
    device: str | None = None,
    network: tuple[str, str] = ("", ""),
) -> "RecipeOverrides":
    """Read the settings of a recipe file; the options of the command line override them.

    `network` has the names of model and backbone, empty where they are not given.

    Raises
    ------
    MedSegError
        If the file cannot be read or names an unknown setting, or the device cannot be used.
    """
    from training.from_folders.default_recipe import RecipeOverrides, read_recipe_overrides
    from training.recipe_keys import merge_keys

    overrides = RecipeOverrides() if recipe is None else read_recipe_overrides(recipe)
    run: dict[str, Any] = {"seed": seed} if seed else {}
    if budget_s is not None:
        run["budget_s"] = budget_s
    if (checked := check_device(device)) is not None:
        run["device"] = checked
    schedule = {} if epochs is None else {"n_epochs": epochs, "patience": epochs}
    options = {group: settings for group, settings in (("run", run), ("schedule", schedule)) if settings}
    changed = {"architecture": _name_network(overrides.architecture, *network)}
    return overrides.model_copy(update=changed | {"recipe": merge_keys(overrides.recipe, options)})


def _name_network(architecture: dict[str, Any], model: str, backbone: str) -> dict[str, Any]:
    """Return the architecture of a recipe file under the names of the options; another network has its own defaults."""
    if model and architecture.get("name", model) != model:
        architecture = {key: value for key, value in architecture.items() if key not in ("encoder", "options")}
    named = {"name": model, "encoder": backbone}
    return architecture | {key: value for key, value in named.items() if value}


def get_start_time(context: typer.Context) -> float:
    """Return when the process of the command started, in seconds since the Unix epoch: the budget counts from then."""
    return context.obj if isinstance(context.obj, float) else time.time()


def check_reason(context: typer.Context, reason: str, *, promote: bool) -> None:
    """End the command with a usage error if --reason is given without --promote."""
    if reason and not promote:
        context.fail("--reason is only used with --promote.")
