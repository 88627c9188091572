"""What roadmask tells its user in one line.

RoadmaskError
├── SourceError  a video cannot be opened or decoded
├── ModelError   a model file cannot be used
├── DeviceError  a device that was named is not there, fails, or has too little memory
├── OutputError  an output cannot be written, or must not be
└── ArchiveError a mask archive cannot be read
"""

from __future__ import annotations


class RoadmaskError(Exception):
    """The message is for the user: what was wrong, with the value, and what to do."""


class SourceError(RoadmaskError):
    """A video cannot be opened or decoded."""


class ModelError(RoadmaskError):
    """A model file cannot be used."""


class DeviceError(RoadmaskError):
    """A device that was named is not there, fails, or has too little memory."""


class OutputError(RoadmaskError):
    """An output cannot be written, or must not be."""


class ArchiveError(RoadmaskError):
    """A mask archive cannot be read."""
