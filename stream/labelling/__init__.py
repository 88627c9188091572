"""Saved masks as what each labelling tool imports. Begin with `labelling`."""
