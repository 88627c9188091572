"""From scores to masks: steady over time, enlarged, decided. Begin with `deciding`."""
