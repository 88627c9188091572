"""A model file of a checkpoint, or a twin of either in int8 or fp16; with tables of how they compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from ..stream.masks.familiar import LOW
from ..stream.network.model import find_model
from ..stream.system.talk import counted, printable, progress_bar, write_talk
from ..training.checkpoint import load
from .calibration import given_samples
from .convert import export_model
from .familiar import note_familiar
from .half import halve_model
from .model_file import check_output
from .pictures import samples
from .plain import Numbers, write_plain
from .quantize import quantize_model
from .verify import ParityReport

Size = tuple[int, int] | None  # (height, width) that the model asks for


def make_model(checkpoint: Path, output: Path, *, size: Size, overwrite: bool, pictures: list[Path] | None) -> None:
    report = export_model(checkpoint, output, overwrite=overwrite, pictures=pictures, size=size)
    _show_parity("checkpoint (torch) against model (ONNX Runtime)", report)


def make_half(
    source: Path, output: Path, *, is_model: bool, size: Size, overwrite: bool, pictures: list[Path] | None
) -> None:
    with _model_of(source, output, is_model=is_model, size=size, overwrite=overwrite, pictures=pictures) as model:
        compared = given_samples(pictures) if pictures else None if is_model else samples(load(source), None)
        report = halve_model(model, output, samples=compared, overwrite=overwrite)
        _show_parity("float32 model against fp16 model", report)


def make_familiar(source: Path, output: Path, data: list[list[Path]], *, is_made: bool, overwrite: bool) -> None:
    """Note in `output` what is familiar to the model, which is `source`, or has just been made as `output`."""
    if is_made:
        source = output
    else:
        source = find_model(source)
        check_output(output, source, source_kind="model", overwrite=overwrite)
    with progress_bar() as progress:
        least, count = note_familiar(source, output, data, on_picture=counted(progress, "familiar pictures"))
    told = f"familiar: in all but {LOW:.0%} of {count} pictures the best class leads by {least:.2f} or more"
    Console(stderr=True).print(told, markup=False, highlight=False)


def make_int8(
    source: Path,
    output: Path,
    data: Path,
    count: int,
    *,
    is_model: bool,
    size: Size,
    overwrite: bool,
    pictures: list[Path] | None,
) -> None:
    with (
        _model_of(source, output, is_model=is_model, size=size, overwrite=overwrite, pictures=pictures) as model,
        progress_bar() as progress,
    ):
        on_picture = counted(progress, "calibrating")
        report = quantize_model(
            model, output, data, count=count, overwrite=overwrite, pictures=pictures, on_picture=on_picture
        )
    _show_parity("float32 model against int8 model", report)


def make_plain(
    source: Path,
    output: Path,
    numbers: Numbers,
    *,
    is_model: bool,
    size: Size,
    overwrite: bool,
    pictures: list[Path] | None,
) -> None:
    with _model_of(source, output, is_model=is_model, size=size, overwrite=overwrite, pictures=pictures) as model:
        equal = write_plain(model, output, numbers, size=size, overwrite=overwrite)
    write_talk(f"{equal:.3%} of the labels are those of the model file; {output.stem}_nvinfer.txt is for DeepStream")


@contextmanager
def _model_of(
    source: Path, output: Path, *, is_model: bool, size: Size, overwrite: bool, pictures: list[Path] | None
) -> Iterator[Path]:
    """The float32 model to make a twin of: the source itself, or for a while its export."""
    if is_model:
        yield find_model(source)
        return
    check_output(output, source, source_kind="checkpoint", overwrite=overwrite)
    with TemporaryDirectory() as folder:
        model = Path(folder, output.name)
        make_model(source, model, size=size, overwrite=False, pictures=pictures)
        yield model


def _show_parity(what: str, report: ParityReport) -> None:
    table = Table("pictures", "batch", "network input", "mean difference", "largest", "scores span", "equal labels")
    for case in report.cases:
        table.add_row(
            str(case.picture_count),
            str(case.batch),
            f"{case.width}x{case.height}",
            f"{case.mean_difference:.1e}",
            f"{case.max_difference:.1e}",
            f"{case.score_range:.1f}",
            f"{case.equal_labels:.4%}",
        )
    console = Console(stderr=True)
    console.print(printable(f"{what} on {report.origin}:"), markup=False, highlight=False)
    console.print(table)
    if report.openvino:
        console.print(printable(report.openvino), markup=False, highlight=False)
