"""What a run leaves of how far it is, so that it can be gone on with. Begin with `progress`."""
