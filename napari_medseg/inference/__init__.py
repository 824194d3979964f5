"""How labels are made: prepare, predict, postprocess, restore."""
