"""Many files: which they are, what each is to make, several at a time, and what became of them. Begin with `jobs`."""
