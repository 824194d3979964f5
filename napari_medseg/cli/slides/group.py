"""`medseg slides`: what a slide is, its fields, its prediction as a whole, and its export."""

import typer

from napari_medseg.cli.slides import export, fields, info, predict

app = typer.Typer(no_args_is_help=True, help="Whole slides: look at them, predict them as a whole, export the labels.")
app.command()(info.info)
app.command()(fields.fields)
app.command()(predict.predict)
app.command()(export.export)
