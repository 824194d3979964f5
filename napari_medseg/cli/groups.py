"""`medseg groups`: list and change the groups (patients, slides, videos) of a project's cases."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    ClearNamesOption,
    JsonOption,
    MaxMemoryOption,
    ProjectOption,
    RegistryOption,
    open_workspace,
    split_words,
)
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.groups import count_groups
from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.records import Case
from napari_medseg.workflow.hold_out.groups import GroupPlan, apply_group_plan, plan_group, plan_groups_by_name
from napari_medseg.workflow.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="List and change the groups (patients, slides, videos) of the cases.")


@app.command("list")
def list_groups(
    clear_names: ClearNamesOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """List the groups of a project, the number of their cases, and which are held out."""
    with open_workspace(project, registry) as ws:
        cases, pattern = ws.project.read_records(Case), ws.project.identities.read_pattern()
        clear = ws.project.identities.read_groups() if clear_names else {}
    held_out = {case.group for case in cases if case.held_out}
    counted = count_groups(case.group for case in cases)
    if as_json:
        rows = [
            {"group": group, "cases": count, "held_out": group in held_out}
            | ({"clear_name": clear.get(group, "")} if clear_names else {})
            for group, count in counted
        ]
        echo_json({"pattern": pattern, "groups": rows})
        return
    table = Table("group", "cases", "used for", *["clear name"] * clear_names)
    for group, count in counted:
        use = "evaluation" if group in held_out else "training"
        table.add_row(get_group_label(group), str(count), use, *[clear.get(group, "")] * clear_names)
    Console().print(table)
    echo(f"Groups of new images: {f'the pattern {pattern}' if pattern else 'by the rule for file names'}.")


@app.command()
def change(
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Where the patient stands in the file name, such as '{patient}_*' or '{patient}/*', or a regular "
            "expression. New images follow it, too. '' means the rule for file names.",
            show_default=False,
        ),
    ] = None,
    cases: Annotated[
        str, typer.Option(help="Names or numbers of cases that are one group, such as scan_1,scan_7; with --to.")
    ] = "",
    to: Annotated[str, typer.Option(help="Name of that group.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the groups.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Change them even if it affects earlier comparisons.")] = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Change which cases are one patient. Names are shown in clear here, as they are typed.

    The new groups are shown first. If the hold-out was used before, the command says what that means and changes
    nothing without --yes.

    Example: `medseg groups change --pattern '{patient}_*' --dry-run`
    """
    if (pattern is None) == (not cases):
        raise MedSegError("give either --pattern, or --cases with --to.")
    with open_workspace(project, registry) as ws:
        plan = plan_group(ws, _find_cases(ws, cases), to) if pattern is None else plan_groups_by_name(ws, pattern)
        applies = not dry_run and (yes or not plan.warnings)
        if applies:
            apply_group_plan(ws, plan)
    if as_json:
        echo_json(_describe_plan(plan) | {"applied": applies})
    else:
        echo(plan.text)
    if not applies and not dry_run:
        raise MedSegError("nothing was changed. Add --yes to change the groups in spite of this.")


@app.command("remove-old-names")
def remove_old_names(
    as_json: JsonOption = False, project: ProjectOption = None, registry: RegistryOption = None
) -> None:
    """Remove the names of patients that older versions wrote into run folders, and backups of older databases.

    See docs/privacy.md. Files that were exported are not changed.
    """
    from napari_medseg.workflow.output import names_in_old_runs

    with open_workspace(project, registry) as ws:
        done = names_in_old_runs.remove_old_names(ws)
    if as_json:
        echo_json([str(path) for path in done.changed])
    else:
        for path in done.changed:
            echo(str(path))
        if not done.changed and not done.problems:
            echo("No names were found.")
    if done.problems:
        problems = "\n".join(done.problems)
        raise MedSegError(f"names may stay in these files; mend the cause and run the command again:\n{problems}")


def _find_cases(ws: Workspace, words: str) -> list[Case]:
    """Return the cases with these names or numbers; raise `MedSegError` if one does not exist."""
    known = ws.project.read_records(Case)
    found: list[Case] = []
    for word in split_words(words):
        matching = [case for case in known if word in (case.name, case.file_name, str(case.id))]
        if not matching:
            example = known[0].name if known else "patient 1 case 1"
            raise MedSegError(
                f"the project has no case {word!r}. Give its name in the list, such as {example!r}, its number, or its "
                "file name."
            )
        found += matching
    return found


def _describe_plan(plan: GroupPlan) -> dict[str, object]:
    counted = count_groups(plan.group_of[case.id] for case in plan.cases)
    groups = [{"group": group, "cases": count, "held_out": plan.held_out[group]} for group, count in counted]
    changed = [
        {"case": case.id, "name": case.file_name}
        | {"from": plan.present.get(case.group, case.group), "to": plan.group_of[case.id]}
        for case in plan.changed
    ]
    unmatched = [case.file_name for case in plan.unmatched]
    return {"groups": groups, "changed": changed, "unmatched": unmatched, "warnings": list(plan.warnings)}
