"""What a run takes of itself where nobody says: by how many pictures there are, and whether it knows streets already.

Some hundred pictures or more are learnt as those of CamVid. Of fewer, each is seen more often, with fewer rounds of
scoring. A network that begins with another's weights needs half the time and gentler rates, and rare classes need not
be weighed so much that they spread; of very few pictures its encoder stays as it came, which is as good and takes a
quarter of the time. What was measured is in RECIPE.md.
"""

from __future__ import annotations

from .settings import OPEN, SettledSettings, TrainSettings, settled
from .shape import SCALES

_ENOUGH, _VERY_FEW = 300, 150  # pictures
_ROUNDS = 10
_CLASS_WEIGHT_OFFSET = 1.4  # a network from nothing does not find a rare class by it
_PASSES = 60  # over enough pictures; over a quarter of them twice as many


def fitted(asked: TrainSettings, pictures: int) -> tuple[SettledSettings, str]:
    """`asked`, and what it leaves open by the number of `pictures` to learn from; and what to say of it, or ""."""
    if pictures >= _ENOUGH:
        return settled(asked), ""
    chosen: dict[str, float] = {}
    if asked.epochs is None and asked.passes is None:
        passes = _PASSES * (_ENOUGH / pictures) ** 0.5 / (2 if asked.start_from else 1)
        chosen |= {"epochs": _ROUNDS, "passes": max(round(passes / _ROUNDS), 1)}
    if asked.start_from:
        chosen |= {"lr": 1e-3, "encoder_lr": 3e-4, "frozen_scales": SCALES if pictures < _VERY_FEW else 0}
        chosen["class_weight_offset"] = _CLASS_WEIGHT_OFFSET
    result = settled(asked, **chosen)
    idle = {"epochs"} if asked.budget_s else set()
    idle |= {"encoder_lr"} if result.frozen_scales == SCALES else set()
    told = [name for name in chosen if getattr(asked, name) is None and name not in idle]
    options = " ".join(f"--{name.replace('_', '-')} {chosen[name]:g}" for name in told)
    return result, f"{pictures} pictures are few; so, where you say nothing else: {options}" if told else ""


def as_before(asked: TrainSettings, before: SettledSettings) -> SettledSettings:
    """`asked`, and what it leaves open as a run has begun."""
    return settled(asked, **{name: getattr(before, name) for name in OPEN})
