"""What stays on disk: files that get their name when they are whole, synced, locked, gone on with."""
