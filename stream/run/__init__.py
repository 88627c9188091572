"""One video or camera to its outputs: settings, the run, its stages, its outputs, and what it can be gone on with from.

Begin with `segment`, which reads top to bottom.
"""
