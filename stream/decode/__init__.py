"""From a video file to frames: opened alone, decoded, timed, upright, in the colours they mean.

Begin with `source`.
"""
