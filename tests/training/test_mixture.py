"""Several data sets as one: their maps, sets of classes, and what is held out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from roadmask.training.batches import Pictures
from roadmask.training.classmap import class_names, meanings, read_map, split_map, targets
from roadmask.training.dataset import open_dataset
from roadmask.training.errors import DataError
from roadmask.training.job import prepare
from roadmask.training.label_pictures import VOID
from roadmask.training.labels import Labels
from roadmask.training.mixture import Mixture, meaning, open_mixture
from roadmask.training.public_sets import MAPS, SEGNET_NAMES
from tests.support.datasets import (
    NAMES,
    draw_ids,
    make_fastai,
    make_segnet,
    save_pair,
    save_png,
    tiny_settings,
    with_names,
)

IDD_NAMES = tuple(MAPS["idd-lite"])


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# Maps


def test_a_map_in_the_box_goes_by_its_name_and_may_know_more_classes_than_the_data(fine: Path) -> None:
    dataset = open_dataset(with_names(fine, "sky", "Void", "drivable", "my own"))
    assert read_map("idd-lite", dataset) == {"sky": "Sky", "drivable": "Road"}
    assert meanings(dataset, read_map("idd-lite", dataset))["my own"] == ("my own",)


def test_camvids_32_classes_go_to_the_11_as_they_do_in_eval(fine: Path) -> None:
    given = read_map("camvid32", open_dataset(with_names(fine, "SUVPickupTruck", "Void", "Archway", "Road")))
    assert {name: targets(text) for name, text in given.items()} == {
        "SUVPickupTruck": ("Car",),
        "Void": (),
        "Archway": (),
        "Road": ("Road",),
    }


def test_a_map_file_names_a_class_several_or_void_in_whatever_case(fine: Path, tmp_path: Path) -> None:
    content = {"sky": ["Road", "Car", "Road"], "ROAD": "void", "car": "Car | Sky"}
    path = written(tmp_path / "a.json", json.dumps(content))
    dataset = open_dataset(fine)
    assert meanings(dataset, read_map(str(path), dataset)) == {
        "Sky": ("Road", "Car"),
        "Road": (),
        "Car": ("Car", "Sky"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must be one object"),
        ("{", "not JSON"),
        ('{"Sky": 1}', "'Sky' must be a class, a list of classes, or \"void\"; not 1"),
        ('{"Sky": []}', "'Sky' must be a class"),
        ('{"Sky": ["Road", {}]}', "'Sky' must be a class"),
        ('{"Sky": {"Road": 1}}', "'Sky' must be a class"),
        ('{"Sky": ["Road", ""]}', "lacks the name of a class"),
        ('{"Sky": ["Road", "void"]}', r"class 'Sky': 'Road\|void' is void and a class; it is one or the other"),
        ('{"Sky": "Sky", "Sky": "Road"}', "says two things of class 'Sky': 'Sky' and 'Road'"),
        ('{"Sky": "Sky", "sky": ["Road", "Car"]}', r"says two things of class 'sky': 'Sky' and 'Road\|Car'"),
        ('{"Skye": "Sky"}', "the data has no class 'Skye'; it has Sky, Void, Road, Car"),
        ('{"": "Sky"}', "the data has no class ''; it has"),
        ('{"a\\nb, c": "Sky"}', r"the data has no class 'a\\nb, c'; it has"),
        ('{"Void": "Car"}', "class 'Void' of the data is never scored nor learnt"),
    ],
)
def test_a_map_that_makes_no_sense_is_one_line_with_names_in_quotes(
    fine: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path / "a.json", text)
    with pytest.raises(DataError, match=message) as caught:
        read_map(str(path), open_dataset(fine))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_class_that_is_named_twice_with_the_same_meaning_is_no_contradiction(fine: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", '{"Sky": ["Road", "Car"], "sky": ["car", "Road"]}')
    assert read_map(str(path), open_dataset(fine)) == {"Sky": "Road|Car"}


@pytest.mark.parametrize(
    ("value", "message"),
    [("iddd", "'iddd' is no class map; there are cityscapes, bdd100k, camvid32"), ("no.json", "cannot be read")],
)
def test_a_map_that_is_not_there_is_one_line(fine: Path, value: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_map(value, open_dataset(fine))


def test_the_map_stands_behind_the_last_colon_unless_the_folder_has_one(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert split_map(str(tmp_path / "a:b")) == (tmp_path / "a:b", "")
    assert split_map(f"{tmp_path / 'a:b'}:idd-lite") == (tmp_path / "a:b", "idd-lite")
    assert split_map(f"{tmp_path}:x.json") == (tmp_path, "x.json")
    assert split_map("nowhere:idd-lite") == (Path("nowhere:idd-lite"), "")


# Labels


def test_classes_to_learn_are_the_first_data_sets_as_its_map_names_them(fine: Path) -> None:
    dataset = open_dataset(fine)
    assert class_names(dataset, {}) == NAMES
    assert class_names(dataset, {"Sky": "void", "Road": "ground|Car", "Car": "car"}) == ("ground", "Car")


def test_a_mask_holds_a_code_for_each_class_and_each_set(fine: Path, coarse: tuple[Path, Path]) -> None:
    mixture = open_mixture(tiny_settings(fine, f"{coarse[0]}:{coarse[1]}"))
    labels, (first, second) = mixture.labels, mixture.parts
    assert labels.names == ("Sky", "Road", "Car", "Road|Car")
    assert_array_equal(labels.members, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
    example = second.dataset.examples[1]
    _, mask = second.read(example)
    assert_array_equal(mask, np.array([0, VOID, 3, 2])[draw_ids(int(example.name[2:]))])
    assert first.codes == {0, 1, 2}
    assert second.codes == {0, 2, 3}
    assert meaning(second, labels) == {"heaven": "Sky", "gap": "void", "street": "Road|Car", "vehicle": "Car"}


def test_the_colour_of_a_set_is_the_mean_of_its_classes() -> None:
    labels = Labels(("a", "b"), ((10, 0, 200), (20, 100, 100)), (frozenset({0, 1}),))
    assert labels.colors == ((10, 0, 200), (20, 100, 100), (15, 50, 150))


def test_what_idd_lite_tells_apart_are_road_sky_what_moves_and_the_rest(tmp_path: Path) -> None:
    camvid = with_names(make_fastai(tmp_path / "camvid"), *SEGNET_NAMES)
    idd = with_names(make_fastai(tmp_path / "idd"), *IDD_NAMES)
    mixture = open_mixture(tiny_settings(camvid, f"{idd}:idd-lite"))
    labels = mixture.labels
    first, second = (labels.groups(part.codes) for part in mixture.parts)
    assert first.names == SEGNET_NAMES[:-1]
    assert second.names == (
        "Sky",
        "Building+Column_Pole+Sidewalk+Tree+SignSymbol+Fence",
        "Road",
        "Car+Pedestrian+Bicyclist",
    )
    assert second.is_labelled.all()


def test_groups_are_scored_exactly_and_right_is_what_is_in_the_set() -> None:
    """Classes Sky, Road, Car, Tree; labels: Sky, and Road|Car; Tree is never labelled."""
    labels = Labels(("Sky", "Road", "Car", "Tree"), ((0, 0, 0),) * 4, (frozenset({1, 2}),))
    groups = labels.groups({0, 4})
    assert groups.names == ("Sky", "Road+Car", "Tree")
    confusion = np.zeros((5, 4), np.int64)
    confusion[0] = [6, 2, 0, 1]
    confusion[4] = [1, 3, 5, 2]
    assert_array_equal(groups.confusion(confusion), [[6, 2, 1], [1, 8, 2], [0, 0, 0]])
    np.testing.assert_allclose(groups.iou(confusion), [6 / 10, 8 / 13, np.nan])
    assert groups.accuracy(confusion) == 14 / 20


def test_sets_that_overlap_make_one_group() -> None:
    labels = Labels(tuple("abcde"), ((0, 0, 0),) * 5, (frozenset({0, 1}), frozenset({3, 4}), frozenset({1, 3})))
    assert labels.groups({0, 5, 6, 7}).names == ("a+b+d+e", "c")
    assert labels.groups({0, 5}).names == ("a+b", "c", "d", "e")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"vehicle": "Lorry"},
            r"its map takes 'vehicle' for 'Lorry', which is none of the classes to learn \(Sky, Road, Car\)",
        ),
        ({"vehicle": ["Car", "Lorry"]}, "its map takes 'vehicle' for 'Lorry'"),
        ({"heaven": "void", "street": "void", "vehicle": "void"}, "every class is mapped to void"),
    ],
)
def test_a_map_to_what_is_not_learnt_is_one_line(
    fine: Path, coarse: tuple[Path, Path], change: dict[str, object], message: str
) -> None:
    root, path = coarse
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        open_mixture(tiny_settings(fine, f"{root}:{path}"))
    assert "\n" not in str(caught.value)


def test_a_class_without_a_partner_is_one_line_that_says_how_to_give_it_one(
    fine: Path, coarse: tuple[Path, Path]
) -> None:
    with pytest.raises(DataError, match=r"coarse: there is no partner for its class 'heaven'.*give a map \(FOLDER:MAP"):
        open_mixture(tiny_settings(fine, coarse[0]))


def test_more_classes_and_sets_than_a_mask_can_tell_apart_are_refused(tmp_path: Path) -> None:
    names = [f"c{index}" for index in range(200)]
    fine = with_names(make_fastai(tmp_path / "fine"), *names)
    other = with_names(make_fastai(tmp_path / "other"), *names)
    content = {name: [name, names[index - 1]] for index, name in enumerate(names)}
    path = written(tmp_path / "map.json", json.dumps(content))
    with pytest.raises(DataError, match="200 classes and 200 sets of them; 255 can be told apart"):
        open_mixture(tiny_settings(fine, f"{other}:{path}"))


# What is held out


def parts_of(*data: Path | str, **changes: object) -> Mixture:
    return open_mixture(tiny_settings(*data, **changes))


def names_of(examples: tuple[object, ...]) -> set[str]:
    return {example.name for example in examples}  # type: ignore[attr-defined]


def test_each_data_set_holds_out_what_its_own_list_says(fine: Path, coarse: tuple[Path, Path]) -> None:
    first, second = parts_of(fine, f"{coarse[0]}:{coarse[1]}").parts
    assert names_of(first.split.valid) == {"A_0000", "B_0001"}
    assert names_of(second.split.valid) == {"C_0000", "D_0001"}
    assert len(first.split.train) == 6
    assert len(second.split.train) == 2


def test_only_the_first_data_set_must_have_something_to_score_on(fine: Path, coarse: tuple[Path, Path]) -> None:
    root, path = coarse
    (root / "valid.txt").unlink()
    _, second = parts_of(fine, f"{root}:{path}").parts
    assert not second.split.valid
    assert len(second.split.train) == 4
    (fine / "valid.txt").unlink()
    with pytest.raises(DataError, match=r"no valid\.txt says which pictures to score on"):
        parts_of(fine, f"{root}:{path}")


def test_drives_are_held_out_where_they_are_and_may_be_named_by_a_pattern(
    fine: Path, coarse: tuple[Path, Path]
) -> None:
    second_alone = parts_of(fine, f"{coarse[0]}:{coarse[1]}", valid_drives=("C",)).parts
    assert names_of(second_alone[0].split.valid) == {"A_0000", "B_0001"}  # by its list
    assert names_of(second_alone[1].split.valid) == {"C_0000", "C_0002"}
    both = parts_of(fine, f"{coarse[0]}:{coarse[1]}", valid_drives=("B", "[CX]")).parts
    assert {example.drive for part in both for example in part.split.valid} == {"B", "C"}
    with pytest.raises(DataError, match=r"fine: no drive 'Z'; there are A, B"):
        parts_of(fine, f"{coarse[0]}:{coarse[1]}", valid_drives=("C", "Z"))


def test_a_drive_with_a_bracket_in_its_name_is_found_by_its_name(tmp_path: Path) -> None:
    root = make_fastai(tmp_path / "data", count=4)
    for name in ("a[1]_0001", "a[1]_0002"):
        save_pair(root / "images" / f"{name}.png", root / "labels" / f"{name}_P.png", draw_ids(0))
    (part,) = parts_of(root, valid_drives=("a[1]",)).parts
    assert names_of(part.split.valid) == {"a[1]_0001", "a[1]_0002"}
    (part,) = parts_of(root, valid_drives=("a*",)).parts
    assert names_of(part.split.valid) == {"a[1]_0001", "a[1]_0002"}


def test_held_out_pictures_can_be_learnt_too(fine: Path) -> None:
    (part,) = parts_of(fine, learn_all=True).parts
    assert len(part.split.train) == 8
    assert len(part.split.valid) == 2


def test_pictures_of_one_name_in_two_folders_of_a_data_set_are_two(tmp_path: Path) -> None:
    root = make_segnet(tmp_path / "data", train=2, val=0, test=0)
    save_pair(root / "val" / "A_0000.png", root / "valannot" / "A_0000.png", draw_ids(5))
    (part,) = parts_of(root).parts
    pictures = Pictures([part])
    (valid,), trained = part.split.valid, part.split.train[0]
    assert valid.name == trained.name == "A_0000"
    assert_array_equal(pictures.read(0, trained)[1], part.read(trained)[1])
    assert_array_equal(pictures.read(0, valid)[1], part.read(valid)[1])
    assert (pictures.read(0, valid)[1] != pictures.read(0, trained)[1]).any()


def test_parts_of_one_name_are_told_apart(tmp_path: Path) -> None:
    roots = [make_fastai(tmp_path / letter / "street") for letter in "abc"]
    assert [part.name for part in parts_of(*roots).parts] == ["street", "street-2", "street-3"]


# What is said of them


def test_what_is_learnt_from_is_told_with_the_shares(fine: Path, coarse: tuple[Path, Path]) -> None:
    told: list[str] = []
    job = prepare(tiny_settings(fine, f"{coarse[0]}:{coarse[1]}", shares=(3, 1)), None, told.append)
    assert told == [
        "75% of each batch from fine: 6 pictures to train on, 2 to score on (by list valid.txt)",
        "25% of each batch from coarse: 2 pictures to train on, 2 to score on (by list valid.txt)",
        "3 classes; cpu, fp32",
    ]
    assert job.provenance["data"] == (
        "fine, 8 pictures; validation by list valid.txt; coarse, 4 pictures; validation by list valid.txt"
    )


def test_a_data_set_of_nothing_but_void_is_named(fine: Path, coarse: tuple[Path, Path]) -> None:
    root, path = coarse
    shutil.rmtree(root / "labels")
    for example in range(4):
        save_png(root / "labels" / f"{'CD'[example % 2]}_{example:04}.png", np.full((64, 96), VOID, np.uint8))
    with pytest.raises(DataError, match="coarse: every pixel of the labels is void"):
        prepare(tiny_settings(fine, f"{root}:{path}"), None, lambda _message: None)


@pytest.mark.parametrize(
    ("height", "width", "size", "crop"),
    [(1080, 1920, (544, 960), (320, 576)), (720, 960, (704, 960), (384, 512)), (64, 96, (64, 96), (64, 96))],
)
def test_large_pictures_get_a_sane_size_and_crop_and_it_is_told(
    tmp_path: Path, height: int, width: int, size: tuple[int, int], crop: tuple[int, int]
) -> None:
    told: list[str] = []
    data = make_fastai(tmp_path, count=2, valid=1, height=height, width=width)
    job = prepare(tiny_settings(data), None, told.append)
    assert (job.size, job.crop) == (size, crop)
    line = (
        f"pictures are {width}x{height}: the network sees them at {size[1]}x{size[0]}, and learns from crops of "
        f"{crop[1]}x{crop[0]} (--size, --crop)"
    )
    assert (line in told) == (height > 64)
    asked = prepare(tiny_settings(data, size=(64, 96), crop=(32, 64)), None, told.append)
    assert (asked.size, asked.crop) == ((64, 96), (32, 64))
    assert told.count(line) == (height > 64)
