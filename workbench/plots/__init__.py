"""Pictures as functions: a frame or a cube in, data or a figure out. No Panel, no files; notebooks call them as they are."""
