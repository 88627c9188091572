"""Mask archives of all kinds: how they are laid out, written, read and verified.

Begin with `archive` to read and `mask_sink` to write.
"""
