"""A sheet of pictures, pixel for pixel, with captions and the classes' colours below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .console import printable
from .dataset import Color, Dataset
from .layouts import Example

_COLUMNS = 4  # of a sheet of labels
_GAP, _CAPTION_HEIGHT, _LEGEND_HEIGHT, _FONT_SIZE = 8, 24, 30, 16
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    caption: str
    picture: NDArray[np.uint8]  # (height, width, 3) RGB


def paint(picture: NDArray[np.uint8], mask: NDArray[np.uint8], colors: Sequence[Color]) -> NDArray[np.uint8]:
    """The picture with each class's colour blended half over it; what is void stays as it was."""
    known = mask < len(colors)
    painted = picture.copy()
    painted[known] = np.round((picture[known] + np.array(colors)[mask[known]]) / 2)
    return painted


def draw_sheet(rows: Sequence[Sequence[Cell]], class_names: Sequence[str], colors: Sequence[Color]) -> Image.Image:
    """Rows of cells, left-aligned, each picture at its own size; at the foot a legend of the classes."""
    font = ImageFont.load_default(_FONT_SIZE)
    width = max(_row_width(row) for row in rows)
    legend = _legend_places(class_names, width, font)
    legend_height = _LEGEND_HEIGHT * (legend[-1][1] + 1) if legend else 0
    height = sum(_row_height(row) for row in rows) + legend_height + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for row in rows:
        left = _GAP
        for cell in row:
            room = cell.picture.shape[1]
            draw.text((left, top), _shortened(cell.caption, room, font), _INK, font)
            sheet.paste(Image.fromarray(cell.picture), (left, top + _CAPTION_HEIGHT))
            left += room + _GAP
        top += _row_height(row)
    for (name, color), (left, line) in zip(zip(class_names, colors, strict=True), legend, strict=True):
        y = top + line * _LEGEND_HEIGHT
        draw.rectangle((left, y, left + _FONT_SIZE, y + _FONT_SIZE), color, _INK)
        draw.text((left + _FONT_SIZE + 6, y - 1), name, _INK, font)
    return sheet


def label_sheet(dataset: Dataset, examples: Sequence[Example]) -> Image.Image:
    """Pictures of a data set with their labels over them."""
    cells = []
    for example in examples:
        picture, mask = dataset.read(example)
        cells.append(Cell(printable(example.name), paint(picture, mask, dataset.class_colors)))
    rows = [cells[first : first + _COLUMNS] for first in range(0, len(cells), _COLUMNS)]
    return draw_sheet(rows, dataset.class_names, dataset.class_colors)


def _row_width(row: Sequence[Cell]) -> int:
    return sum(int(cell.picture.shape[1]) + _GAP for cell in row) + _GAP


def _row_height(row: Sequence[Cell]) -> int:
    return max(int(cell.picture.shape[0]) for cell in row) + _CAPTION_HEIGHT + _GAP


def _legend_places(names: Sequence[str], width: int, font: _Font) -> list[tuple[int, int]]:
    """Left edge and line of each entry, broken where the sheet ends."""
    places = []
    left, line = _GAP, 0
    for name in names:
        room = _FONT_SIZE + 6 + round(font.getlength(name)) + 3 * _GAP
        if left > _GAP and left + room > width:
            left, line = _GAP, line + 1
        places.append((left, line))
        left += room
    return places


def _shortened(text: str, room: int, font: _Font) -> str:
    while text and font.getlength(text) > room:
        text = text[:-1]
    return text
