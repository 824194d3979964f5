"""`medseg train`: one command for each way to train."""

import typer

from napari_medseg.cli.train import decide, discard, folders, preview, project, resume

app = typer.Typer(
    no_args_is_help=True,
    help="""Train a model on a project's corrections or on folders of images.

Ctrl-C stops a run and keeps its best model so far.

Exit codes: 0 done, 1 failed or not promoted, 2 wrong usage, 3 paused.
""",
)
app.command("project")(project.train_on_project)
app.command("folders")(folders.train_on_folders)
app.command("resume")(resume.resume_run)
app.command("decide")(decide.decide_run)
app.command("discard")(discard.discard_run)
app.command("preview")(preview.preview_batch)
