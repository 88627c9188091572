"""Overlays: drawn in the decoder's own planes, and encoded. Begin with `overlay`, then `video_sink`."""
