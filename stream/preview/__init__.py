"""Overlays from saved masks. Begin with `preview`."""
