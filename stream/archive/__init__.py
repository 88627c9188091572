"""Mask archives: one module a kind, which reads and writes it; the manifest that all have; verified and converted.

Begin with `archive` to read and `mask_sink` to write.
"""
