"""How fast model files are beside each other: python tests/bench/models.py A.onnx B.onnx ... [--size WxH].

All run in one process, in turn, many times over, because machines are noisy: read the ratios to the first. Wall time
is what a user waits; processor time adds up all threads and tells the work even while others use the cores. Any ONNX
file will do whose one input is pictures, uint8 (batch, height, width, 3) or float32 (batch, 3, height, width).
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    session: onnxruntime.InferenceSession
    inputs: dict[str, NDArray[np.generic]]
    wall_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)

    @property
    def median_wall(self) -> float:
        return statistics.median(self.wall_ms)

    @property
    def median_processor(self) -> float:
        return statistics.median(self.processor_ms)

    def run(self, *, is_counted: bool) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        self.session.run(None, self.inputs)
        if is_counted:
            self.wall_ms.append((time.perf_counter() - wall) * 1e3)
            self.processor_ms.append((time.process_time() - processor) * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    parser.add_argument("--size", type=_size, default=(352, 480), metavar="WxH")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--spin", action="store_true", help="threads spin while they wait; in a run they do not")
    options = parser.parse_args()

    cases = [_case(path, options) for path in options.models]
    for repeat in range(options.repeats + 3):  # the first rounds warm up
        for case in cases:
            case.run(is_counted=repeat >= 3)
    height, width = options.size
    print(f"onnxruntime {onnxruntime.__version__}, {options.threads} threads, batch {options.batch}, {width}x{height}")
    name_width = max(len(str(path)) for path in options.models)
    print(f"{'':<{name_width}}     wall ms  (half lie between)   ratio   processor ms   ratio")
    for path, case in zip(options.models, cases, strict=True):
        low, wall, high = statistics.quantiles(case.wall_ms, n=4)
        processor = case.median_processor
        print(
            f"{path!s:<{name_width}}  {wall:10.2f}  ({low:7.2f} to {high:7.2f})  {wall / cases[0].median_wall:6.3f}"
            f"  {processor:13.2f}  {processor / cases[0].median_processor:6.3f}"
        )


def _case(path: Path, options: argparse.Namespace) -> Case:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spin)))
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    pictures = _pictures(options.batch, *options.size)
    if source.type == "tensor(float)":
        normalised = (pictures.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
        return Case(session, {source.name: np.ascontiguousarray(normalised)})
    return Case(session, {source.name: pictures})


def _pictures(batch: int, height: int, width: int) -> NDArray[np.uint8]:
    """Smooth noise: a picture's time does not depend on what it shows, but denormal numbers would."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (batch, height // 16 + 1, width // 16 + 1, 3), np.uint8)
    fine: NDArray[np.uint8] = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    return np.ascontiguousarray(fine)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(height), int(width)


if __name__ == "__main__":
    main()
