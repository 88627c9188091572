"""This process and its helpers: memory, cores, signals, calls that take too long, processes of our own."""
