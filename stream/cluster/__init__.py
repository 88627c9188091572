"""Videos, and stretches of long ones, on a Ray cluster. Begin with `cluster`."""
