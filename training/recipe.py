"""The run behind the models in the box, teacher and pupil, as one command with a budget of time.

    python -m roadmask.training.recipe DATA -o RUNS --budget 10m

DATA holds the folders `camvid` and, as far as they are there, `camvid32`, `idd` (IDD-Lite with a `codes.txt`),
`idd_more` and `roadscene` (pictures without labels). A run that was stopped goes on with the same command. RUNS gets
`teacher/` and `pupil/`, as `roadmask train` makes them, and `teacher.pt` and `pupil.pt`, small enough to send: the
averaged weights of their last steps, in half precision.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from . import checkpoint as checkpoints
from .console import Talk
from .device import choose_device
from .errors import TrainingError
from .options import parse_duration
from .run_folder import LAST
from .settings import AugmentSettings, TrainSettings
from .train import train

HELD_OUT = ("train_*7",)  # drives of IDD-Lite, 172 of its pictures
_LABELLED = {"camvid": "", "camvid32": ":camvid32", "idd": ":idd-lite"}
_UNLABELLED = ("idd_more", "roadscene")
_SHARES = {"camvid": 3.0, "camvid32": 2.0, "idd": 5.0, "idd_more": 1.0, "roadscene": 1.0}
_LICENSE = "CamVid: no terms stated; IDD-Lite and RoadScene: research, non-commercial"


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    share: float  # of the budget; what is left goes into asking teachers, and start and end of each
    settings: TrainSettings


def stages(data: Path, runs: Path, *, budget_s: float, device: str = "auto", learn_all: bool = False) -> list[Stage]:
    """The teacher, who learns from labels alone; then the pupil, who learns from it too.

    Raises:
        TrainingError: there is no CamVid in `data`, or no such device.
    """
    if not (data / "camvid").is_dir():
        raise TrainingError(f"{data}: has no folder camvid")
    labelled = [name for name in _LABELLED if (data / name).is_dir()]
    unlabelled = [name for name in _UNLABELLED if (data / name).is_dir()]
    on_gpu = choose_device(device).type == "cuda"
    common = TrainSettings(
        data=tuple(f"{data / name}{_LABELLED[name]}" for name in labelled),
        shares=tuple(_SHARES[name] for name in labelled),
        valid_drives=HELD_OUT if "idd" in labelled else (),
        learn_all=learn_all,
        size=(416, 544),
        batch=48 if on_gpu else 12,
        passes=8 if on_gpu else 1,  # scoring takes a while
        pct_start=0.1,
        class_weight_offset=1.15,
        lovasz=0.7,
        lovasz_from=0.4,
        context="wide",
        device=device,
        license_note=_LICENSE,
    )
    teacher = replace(
        common,
        encoder="lite2",
        decoder=(256, 128, 96, 64),
        convolution="plain",
        crop=(416, 544),
        batch=common.batch * 2 // 3,
        lr=2e-3,
        encoder_lr=6e-4,
        average=0.999,
        augment=AugmentSettings(scale_min=0.6, scale_max=2.2, harsh=0.3),
    )
    pupil = replace(
        common,
        unlabelled=tuple(str(data / name) for name in unlabelled),
        shares=tuple(_SHARES[name] for name in (*labelled, *unlabelled)),
        teachers=(str(runs / "teacher" / LAST),),
        teacher_scales=(1.0, 1.5) if on_gpu else (1.0,),
        distill=0.4,
        decoder=(96, 56, 40, 16),
        crop=(288, 384),
        lr=3e-3,
        encoder_lr=1e-3,
        average=0.999,
        augment=AugmentSettings(scale_min=0.6, scale_max=2.2, harsh=0.4),
    )
    found = (Stage("teacher", 0.42, teacher), Stage("pupil", 0.45, pupil))
    return [replace(stage, settings=replace(stage.settings, budget_s=stage.share * budget_s)) for stage in found]


def run_recipe(planned: list[Stage], runs: Path) -> None:
    """Train what is not trained yet, one stage after the other."""
    for stage in planned:
        with Talk(stage.name) as talk:
            last = train(
                stage.settings,
                runs / stage.name,
                resume=(runs / stage.name / LAST).exists(),
                on_epoch=talk.epoch,
                on_message=talk.say,
            )
        checkpoints.save(checkpoints.halved(last), runs / f"{stage.name}.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS")
    parser.add_argument("--budget", required=True, type=_seconds, metavar="TIME", help="of both together: 10m, 40h")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--learn-all", action="store_true", help="learn from the pictures to score on too")
    options = parser.parse_args()
    try:
        planned = stages(
            options.data, options.output, budget_s=options.budget, device=options.device, learn_all=options.learn_all
        )
        run_recipe(planned, options.output)
    except TrainingError as exc:
        sys.exit(f"roadmask: {exc}")


def _seconds(text: str) -> float:
    try:
        return parse_duration(text, "--budget") or 0.0
    except typer.BadParameter as exc:
        raise argparse.ArgumentTypeError(exc.message) from exc


if __name__ == "__main__":
    main()
