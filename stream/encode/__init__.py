"""Overlays: drawn in the decoder's own planes, encoded, sound copied. Begin with `overlay`."""
