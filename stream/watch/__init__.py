"""Several cameras on one model, what is said of them, and where they are seen. Begin with `cameras`."""
