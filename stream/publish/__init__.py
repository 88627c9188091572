"""Overlays that are sent and not stored: standard output, a media server, a window."""
