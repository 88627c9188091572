"""What is said: logs, names that are safe to print, secrets that are not said, and nobody who listens."""
