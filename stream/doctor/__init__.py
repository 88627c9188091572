"""The checks of an installation: each a module with `examine`, made in a process of their own.

Begin with `doctor`.
"""
