"""The correction tools in the window: a gesture or a key becomes an `Edit`, is shown, applied, and one step of undo.

`core.editing` says what each tool does; this room says when, where, and how it is shown.

| part | what it does |
|---|---|
| `editor.Editor` | the one way by which a tool changes the labels: `begin` shows a preview, `commit` applies it |
| `mouse_tools.MouseTools` | the active tool, and its drags on the labels layer |
| `drags.Drags` | what a drag shows while the button is down, and does at its release |
| `piece_actions.PieceActions` | keys that act on the piece under the cursor |
| `tools.TOOLS`, `tools.PIECE_ACTIONS` | the tools as data: name, key, ten words, which tasks, and the function |
| `preview.Preview` | the overlay; `add_line` and `show_edit`; it is no layer |
| `tool_row.ToolRow` | buttons and message line in the Labels section |

How to use the editor (all in the main thread; without an open review the calls raise or return `None`):

- `editor.make_canvas(protects=True)`: a `Canvas` of the open case: labels, image, spacing, task, and the voxels that a
  person set, from `Draft.edited`. `protects=False` is for a tool by which the person means to change exactly
  what is touched: cut, join, delete, rename, a stroke. What a tool computes (grow, holes, specks, smart brush, a
  threshold, a proposal) keeps `protects=True`.
- `editor.set_model_maps(probability, uncertainty)`: arrays of the open case for later canvases; cleared with the case.
- `editor.begin(Request(make_edit, protects=..., in_volume=...))`: compute the edit and show it on the shown slice. A
  large volume is computed in a thread, and `preview_edit` of the request shows this slice at once. A new `begin`
  finishes the request before it if it was committed, else drops it, so that two edits never change the layer at once.
  A `MedSegError` goes to the message line.
- `editor.commit()`: apply what was shown, or apply it as soon as the thread is done. `editor.cancel()`: drop it.
  `editor.drop_preview()` drops it only if it was not committed.
- `editor.run(request)`: `begin` and `commit`, for a click.
- `editor.find_cursor()`: the voxel under the mouse; `MedSegError` outside the image.
- signals: `said(text)` for the message line, `applied(edit)`, `case_changed()` when other labels are open.

A key that shows while it is pressed and applies on release is a generator: `begin`, `yield`, `commit`; bind it with
`plugin.keymap.KeyBinding`. A key on which napari or Qt say nothing (Shift and a digit, Tab) goes to
`shifted_keys.ShiftedKeys`.
"""
