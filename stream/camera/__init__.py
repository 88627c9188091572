"""Frames of what never ends: cameras, webcams and pipes, connected to again, recorded in parts. Begin with `live`."""
