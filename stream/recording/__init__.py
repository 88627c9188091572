"""A camera's outputs in parts, named by the clock. Begin with `parts`."""
