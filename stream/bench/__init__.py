"""How fast this machine is. Begin with `bench`."""
