"""Frames of what never ends: cameras, webcams and pipes, watched and connected to again. Begin with `live`."""
