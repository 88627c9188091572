"""The ground that all stand on: files that are whole, memory and cores, signals, helper processes, what is said."""
