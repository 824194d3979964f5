"""The editing tools, without a window: each is a function from a `Canvas` and the user's gesture to an `Edit`.

A tool reads and never writes: the window shows the `Edit` as a preview while the mouse moves, and applies the same
object when the button is released. There is no second way to record or undo it: `Edit.voxel_runs` are the runs of a
`core.project.strokes.Stroke`, so `Draft.record_edit` writes them to the journal as one stroke, and Ctrl+Z undoes that
stroke like one of the brush, in any order with others and after a restart. Voxels of a stroke count as edited by a
person; a stroke whose old and new values are equal says "it is right" without a change.

A tool that has nothing to change raises a `MedSegError` with the reason, for the message line.

A gesture is in voxels: (z, y, x) or (y, x), the centre of voxel 0 is at 0. Lengths and sizes are in millimetres;
without a spacing a voxel counts as 1 mm. Tools work in the bounding box of what they change; only those that act on a
whole label read the whole volume.
"""
