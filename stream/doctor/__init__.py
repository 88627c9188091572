"""The checks of an installation, made in a process of their own. Begin with `doctor`."""
