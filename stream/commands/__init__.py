"""The commands of `stream`: options in, talk out; the work is in the other rooms. `run` is the largest."""
