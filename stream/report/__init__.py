"""The page about a run, made from its masks. Begin with `report`."""
