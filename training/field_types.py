"""Whether what a stranger's file holds is of the types that a dataclass declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_MOST = 2**63  # no number of ours is larger; Python's can fill the memory


def misfit(content: Mapping[str, Any], types: Mapping[str, Any], needed: Iterable[str] = ()) -> str | None:
    """What to say of the first value that is missing, or whose type is not that of its name; others may be there."""
    if absent := [name for name in needed if name not in content]:
        return f"{absent[0]} is missing"
    for name, kind in types.items():
        if name in content and not fits(content[name], kind):
            return f"{name} is no {kind if get_args(kind) else kind.__name__}"
    return None


def fits(value: object, kind: Any) -> bool:
    """As JSON and `torch.load` have it: tuples may be lists, whole floats ints, dataclasses dicts of their fields."""
    origin, of = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in of)
    if origin is Literal:
        return isinstance(value, str) and value in of
    if origin in (tuple, list):
        if not isinstance(value, tuple | list):
            return False
        if origin is list or of[1:] == (...,):
            return all(fits(item, of[0]) for item in value)
        return len(value) == len(of) and all(map(fits, value, of))
    if origin is dict:
        return isinstance(value, dict) and all(fits(key, of[0]) and fits(item, of[1]) for key, item in value.items())
    if is_dataclass(kind):
        return isinstance(value, dict) and misfit(value, get_type_hints(kind)) is None
    if kind in (int, float):
        is_whole = isinstance(value, int) and not isinstance(value, bool) and -_MOST < value < _MOST
        return is_whole or (kind is float and isinstance(value, float))
    return isinstance(value, kind)
