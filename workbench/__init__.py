"""The workbench: the screen on which a trader sees a level, its pressure, and what they did before."""
