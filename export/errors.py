"""What exporting tells its user in one line."""

from __future__ import annotations


class ExportError(Exception):
    """The message is for the user: what was wrong, and what to do."""
