"""What the model knows guides the person: where it is unsure, how far a label may grow, what to change on other slices.

`guidance.Guidance` makes all parts for one dock. They change labels only through `plugin.correction.editor.Editor`.
"""
