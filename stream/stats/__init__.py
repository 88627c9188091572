"""The share of each class in each frame, as a table. Begin with `stats_sink`."""
