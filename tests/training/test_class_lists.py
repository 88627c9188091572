"""Lists of classes as people, spreadsheets and other systems write them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roadmask.training.class_lists import find_yaml, read_class_list
from roadmask.training.errors import DataError

NAMES = ("other", "Straße, paved", "sky")
COLORS = [(0, 0, 0), (128, 64, 128), (70, 130, 180)]
COMMA = {
    "list": "names: ['other', \"Straße, paved\", sky]  # by number\nnc: 3\n",
    "list over lines": "nc: 3\nnames: [\n  'other',\n  'Straße, paved',\n  'sky',\n]\n",
    "map": "names:\n  0: other\n  1: 'Straße, paved'\n  2: sky\n",
    "map in a line": "names: {0: other, 1: 'Straße, paved', 2: sky}\n",
    "dashes": "nc: 3\nnames:\n- other\n- Straße, paved\n- sky\ntrain: images\n",
}


@pytest.mark.parametrize("kind", COMMA)
def test_names_in_a_yaml_may_be_quoted_and_have_commas(kind: str, tmp_path: Path) -> None:
    (tmp_path / "street-seg.yaml").write_text(COMMA[kind], encoding="utf-8")
    found = find_yaml(tmp_path)
    assert found is not None
    assert found.codes == NAMES


@pytest.mark.parametrize(
    "text",
    [
        "other\nStraße, paved\nsky\n",
        "0 other\n1 Straße, paved\n2 sky\n",
        "0: other\n1: Straße, paved\n2: sky\n",
        "0;other\n1;Straße, paved\n2;sky\n255;void\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_may_begin_with_ids_and_come_from_windows(text: str, encoding: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "codes.txt"
    path.write_bytes(text.replace("\n", end).encode(encoding))
    assert read_class_list(path).codes == NAMES


def test_ids_that_are_left_out_of_a_numbered_list_are_void(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("0 other\n3 road\n")
    found = read_class_list(tmp_path / "codes.txt")
    assert [code for code in found.codes if code not in found.void] == ["other", "road"]
    assert (len(found.codes), found.codes[3]) == (4, "road")


def test_names_that_begin_with_numbers_are_names(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("2 wheeler\n3 wheeler\n4 wheeler\n")
    assert read_class_list(tmp_path / "codes.txt").codes == ("2 wheeler", "3 wheeler", "4 wheeler")


def test_one_line_of_names_with_commas_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("other, road,sky\n")
    assert read_class_list(tmp_path / "codes.txt").codes == ("other", "road", "sky")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_colors.txt", "0 0 0\t\tother\n128 64 128\t\tStraße, paved\n70 130 180\tsky\n"),
        ("label_colors.txt", "0,0,0,other\n128,64,128,Straße, paved\n70,130,180,sky\n"),
        ("label_colors.txt", "other 0 0 0\nStraße, paved 128 64 128\nsky 70 130 180\n"),
        ("class_dict.csv", 'name,r,g,b\nother,0,0,0\n"Straße, paved",128,64,128\nsky,70,130,180\n'),
        ("class_dict.csv", "Name;R;G;B\r\nother;0;0;0\r\nStraße, paved;128;64;128\r\nsky;70;130;180\r\n"),
        ("class_dict.csv", "name\tr\tg\tb\nother\t0\t0\t0\nStraße, paved\t128\t64\t128\nsky\t70\t130\t180\n"),
        ("label_colors.txt", "0,0,0,other\n"),
        ("labelmap.txt", "other:0,0,0::\n"),
        ("labelmap.txt", "# label:color_rgb::\nother:0,0,0::\nStraße, paved:128,64,128::\nsky:70,130,180::\n"),
    ],
)
def test_a_table_of_colours_may_be_divided_by_what_a_program_divides_by(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = read_class_list(tmp_path / name)
    count = text.count("other") + text.count("sky") + text.count("Straße")
    assert found.codes == NAMES[:count]
    assert found.id_of_color == {color: number for number, color in enumerate(COLORS[:count])}


def test_a_list_in_another_encoding_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_bytes("Straße\nsky\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"is not text in UTF-8 \(byte 4 is 0xdf\); save it as UTF-8"):
        read_class_list(tmp_path / "codes.txt")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("codes.txt", f"road\n{'x' * 101}\n", "'x+ is no name of a class; take up to 100 letters"),
        ("codes.txt", "road\nsky\nroad\n", "class 'road' is named twice; give each a name of its own"),
        ("label_colors.txt", "128 64 road\n", "'128 64 road' is not R G B NAME, such as 128 64 128 Road"),
        ("label_colors.txt", "128 64 300 road\n", "'128 64 300 road' is not R G B NAME"),
        ("label_colors.txt", f"1 2 3 {'x' * 101}\n", "'x+ is no name of a class; take up to 100 letters"),
        ("labelmap.txt", "road:128,64::\n", "'road:128,64::' is not NAME:R,G,B:: as CVAT writes it"),
        ("class_dict.csv", "what,of\nroad,1\n", "its first line names no columns name,r,g,b nor Pixel Value,Class"),
        ("class_dict.csv", "name,r,g,b\nroad,128,64\n", "'road,128,64' is not of the columns name,r,g,b, with whole"),
        ("class_dict.csv", "r,g,b,name\n1,2,3\n", "'1,2,3' is not of the columns r,g,b,name, with whole"),
        ("classes.json", '{"one": "road"}', 'must be ids and names, as in {"1": "Road", "2": "Sky"}'),
        ("classes.json", '{"1": 5}', 'must be ids and names, as in {"1": "Road", "2": "Sky"}'),
        ("classes.json", '{"4000": "road"}', "names no ids from 0 to 254"),
        ("street.yaml", "nc: 3\n", "has no list of names:"),
    ],
)
def test_a_list_that_is_none_is_told_in_one_line_with_what_it_should_be(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=re.escape(f"{name}: {message}").replace("x\\+", "x+")):
        read_class_list(tmp_path / name)
