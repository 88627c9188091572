"""A picture in a file of its own: whatever its kind, pixels and EXIF, it is segmented upright, once."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import roadmask
from roadmask.stream.cli import main
from roadmask.stream.decode.picture import PictureSource, read_head, segments
from roadmask.stream.errors import SourceError
from tests.support.color_model import COLORS
from tests.support.run_command import run

SIZE = (48, 80)  # height, width
ROAD, SKY, CAR = range(3)

# What EXIF asks a viewer to do, as Pillow's constants; what must have been done for the stored pixels is the inverse.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene() -> Image.Image:
    """Sky above, road below, a car at the lower right: no two ways to turn it look the same."""
    pixels = np.empty((*SIZE, 3), np.uint8)
    pixels[:24], pixels[24:] = COLORS["Sky"], COLORS["Road"]
    pixels[32:, 56:] = COLORS["Car"]
    return Image.fromarray(pixels)


def exif_of(orientation: int, **more: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    exif[0x10F], exif[0x110] = "ACME", "Phone 9"
    exif.get_ifd(0x8769)[0x9003] = "2026:05:01 10:11:12"
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (48.0, 8.0, 7.5), "W", (11.0, 30.0, 0.0)
    for tag, value in more.items():
        exif[int(tag[1:])] = value
    return exif


def is_upright(mask: NDArray[np.uint8]) -> bool:
    """Away from the edges, where a compressed picture is a little of both."""
    corners = (mask[8, 8], mask[8, 72], mask[44, 8], mask[44, 72])
    return mask.shape == SIZE and corners == (SKY, SKY, ROAD, CAR)


def mask_of(source: Path, model: Path, folder: Path) -> NDArray[np.uint8]:
    out = folder / "seen.png"
    assert run(source, "-o", out, "--masks", folder / "mask.png", "--overwrite", model=model) == 0
    assert cv2.imread(str(out)).shape[:2] == cv2.imread(str(folder / "mask.png"), 0).shape
    return np.asarray(cv2.imread(str(folder / "mask.png"), cv2.IMREAD_UNCHANGED), np.uint8)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])  # AVIF has a property of its own
def test_all_eight_orientations_of_exif_come_out_upright(
    suffix: str, orientation: int, model: Path, tmp_path: Path
) -> None:
    turn = TURNS[orientation]
    stored = scene() if turn is None else scene().transpose(turn)
    stored.save(tmp_path / f"photo.{suffix}", exif=exif_of(orientation), quality=95)
    assert is_upright(mask_of(tmp_path / f"photo.{suffix}", model, tmp_path))


def test_the_mask_in_python_is_that_of_the_command(model: Path, tmp_path: Path) -> None:
    turn = TURNS[5]
    assert turn is not None
    scene().transpose(turn).save(tmp_path / "photo.jpg", exif=exif_of(5), quality=95)
    mask = mask_of(tmp_path / "photo.jpg", model, tmp_path)
    result = roadmask.load(model)(tmp_path / "photo.jpg")
    assert np.array_equal(result.mask, mask)
    assert is_upright(result.mask)


def by_pillow(mode: str, suffix: str, **options: Any) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        scene().convert(mode).save(folder / f"photo.{suffix}", **options)
        return folder / f"photo.{suffix}"

    return save


def by_opencv(suffix: str) -> Callable[[Path], Path]:
    """With 16 bits a channel."""

    def save(folder: Path) -> Path:
        path = folder / f"photo.{suffix}"
        assert cv2.imwrite(str(path), np.asarray(scene())[..., ::-1].astype(np.uint16) * 257)
        return path

    return save


def misnamed(folder: Path) -> Path:
    scene().save(folder / "photo.jpg", format="png")
    return folder / "photo.jpg"


KINDS = {
    "progressive JPEG": by_pillow("RGB", "jpg", progressive=True, quality=95),
    "4:4:4 JPEG": by_pillow("RGB", "jpeg", subsampling=0),
    "CMYK JPEG": by_pillow("CMYK", "jpg", quality=95),
    "PNG with a palette": by_pillow("P", "png"),
    "PNG with alpha": by_pillow("RGBA", "png"),
    "PNG of 16 bits": by_opencv("png"),
    "TIFF of 16 bits": by_opencv("tif"),
    "TIFF of CMYK": by_pillow("CMYK", "tiff"),
    "TIFF of JPEG": by_pillow("RGB", "tif", compression="jpeg", quality=95),
    "TIFF of LZW": by_pillow("RGB", "tif", compression="tiff_lzw"),
    "BMP": by_pillow("RGB", "bmp"),
    "WebP": by_pillow("RGB", "webp", quality=95),
    "WebP without loss, with alpha": by_pillow("RGBA", "webp", lossless=True),
    "JPEG 2000": by_pillow("RGB", "jp2"),
    "PPM": by_pillow("RGB", "ppm"),
    "PNG that is called .jpg": misnamed,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_and_of_pixels_is_segmented_in_its_own_colours(
    kind: str, model: Path, tmp_path: Path
) -> None:
    assert is_upright(mask_of(KINDS[kind](tmp_path), model, tmp_path))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_gray_pictures_keep_their_brightness(mode: str, tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 48, axis=0)
    if mode == "I;16":
        assert cv2.imwrite(str(tmp_path / "gray.png"), ramp.astype(np.uint16) * 257)
    else:
        Image.fromarray(ramp).convert(mode).save(tmp_path / "gray.png")
    with PictureSource(tmp_path / "gray.png") as source:
        (frame,) = source.frames(lambda _: (48, 64))
    expected = np.asarray(Image.fromarray(ramp).convert("1").convert("L")) if mode == "1" else ramp
    assert np.abs(frame.input.mean(axis=2) - expected).max() <= 2


def test_an_overlay_is_the_picture_with_the_classes_over_it(model: Path, tmp_path: Path) -> None:
    scene().save(tmp_path / "photo.png")
    for alpha, name in ((0, "bare.png"), (1, "colors.png")):
        options = ["--alpha", alpha, "--palette", "camvid"]
        assert run(tmp_path / "photo.png", "-o", tmp_path / name, *options, model=model) == 0
        seen = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
        differences = np.abs(seen - np.asarray(scene()))
        for rows, columns in ((np.s_[2:22], np.s_[2:]), (np.s_[26:], np.s_[2:54]), (np.s_[36:], np.s_[60:])):
            assert differences[rows, columns].max() <= 3, "their colours are those of the classes"


@pytest.mark.parametrize(("suffix", "most"), [("png", 0), ("bmp", 0), ("webp", 0), ("jpg", 12)])
def test_an_overlay_s_colours_end_where_its_classes_do(suffix: str, most: int, model: Path, tmp_path: Path) -> None:
    pixels = np.asarray(scene()).copy()
    pixels[:, ::2] //= 2  # stripes of one column
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    look = ["--palette", "camvid", "--classes", "car", "--alpha", 1]
    out, masks = tmp_path / f"seen.{suffix}", tmp_path / "mask.png"
    assert run(tmp_path / "photo.png", "-o", out, "--masks", masks, *look, model=model) == 0
    is_car = np.asarray(Image.open(masks)) == CAR
    expected = np.where(is_car[..., None], COLORS["Car"], pixels)
    assert 100 < np.count_nonzero(is_car) < 1000
    assert np.abs(np.asarray(Image.open(out).convert("RGB")) - expected).max() <= most


def test_odd_sides_stay_as_they_are(model: Path, tmp_path: Path) -> None:
    scene().resize((61, 37)).save(tmp_path / "photo.png")
    assert mask_of(tmp_path / "photo.png", model, tmp_path).shape == (37, 61)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_an_overlay_keeps_date_place_and_profile_and_is_not_turned_twice(
    kind: str, suffix: str, model: Path, tmp_path: Path
) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turn = TURNS[6]
    assert turn is not None
    stored = scene().transpose(turn)
    stored.save(tmp_path / f"photo.{kind}", exif=exif_of(6), icc_profile=profile, quality=95)
    assert run(tmp_path / f"photo.{kind}", "-o", tmp_path / f"seen.{suffix}", "--palette", "camvid", model=model) == 0
    with Image.open(tmp_path / f"seen.{suffix}") as seen:
        exif = seen.getexif()
        assert seen.size == (80, 48)
        assert seen.info["icc_profile"] == profile
        assert exif[0x112] == 1
        assert exif.get_ifd(0x8769)[0x9003] == "2026:05:01 10:11:12"
        assert exif.get_ifd(0x8825)[2] == (48.0, 8.0, 7.5)
        assert seen.getpixel((8, 8)) == pytest.approx(COLORS["Sky"], abs=12)


def test_a_profile_that_takes_several_pieces_is_kept_whole(model: Path, tmp_path: Path) -> None:
    profile = b"\0" * 16 + b"RGB " + np.random.default_rng(0).bytes(150_000)
    scene().save(tmp_path / "photo.jpg", icc_profile=profile)
    assert run(tmp_path / "photo.jpg", "-o", tmp_path / "seen.jpg", model=model) == 0
    with Image.open(tmp_path / "seen.jpg") as seen:
        assert seen.info["icc_profile"] == profile
    content = (tmp_path / "seen.jpg").read_bytes()
    numbers = [tuple(content[begin + 12 : begin + 14]) for marker, begin, _ in segments(content) if marker == 0xE2]
    assert numbers == [(1, 3), (2, 3), (3, 3)]


def test_without_metadata_an_overlay_tells_neither_date_nor_place_nor_camera(model: Path, tmp_path: Path) -> None:
    scene().save(tmp_path / "photo.jpg", exif=exif_of(6))
    assert run(tmp_path / "photo.jpg", "-o", tmp_path / "seen.jpg", "--no-metadata", model=model) == 0
    with Image.open(tmp_path / "seen.jpg") as seen:
        assert seen.size == (48, 80)
        assert not seen.getexif()


def test_the_preview_within_exif_and_the_profile_of_cmyk_are_left_out(model: Path, tmp_path: Path) -> None:
    small = io.BytesIO()
    scene().resize((16, 10)).save(small, format="jpeg")
    exif = exif_of(1)
    exif.get_ifd(1).update({0x103: 6, 0x201: 0, 0x202: len(small.getvalue())})
    scene().convert("CMYK").save(tmp_path / "photo.jpg", exif=exif, icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 108)
    assert read_head(tmp_path / "photo.jpg").icc
    assert run(tmp_path / "photo.jpg", "-o", tmp_path / "seen.jpg", model=model) == 0
    with Image.open(tmp_path / "seen.jpg") as seen:
        assert "icc_profile" not in seen.info
        assert seen.getexif()[0x10F] == "ACME"
        assert not seen.getexif().get_ifd(1)


def test_a_jpeg_that_is_cut_off_is_partial(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg", exif=exif_of(1))
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) * 2 // 3])
    assert run(tmp_path / "whole.jpg", "-o", tmp_path / "whole.png", model=model) == 0
    assert run(tmp_path / "cut.jpg", "-o", tmp_path / "cut.png", model=model) == 3
    assert "partial: 1 damaged frame" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.jpg", None, "none.jpg: no such file"),
        ("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "drawing.png: no decoder for it; make it a PNG"),
        ("empty.png", b"", "empty.png: not a picture: the file is empty"),
        ("text.jpg", b"a picture of words " * 9, "text.jpg: not a picture, but text"),
        ("junk.jpg", b"\xff\xd8\xff\xe0junk", "junk.jpg: "),
        ("head.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0", "head.png: "),
        ("exif.jpg", b"\xff\xd8\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\xff", "exif.jpg: "),
    ],
)
def test_what_is_no_picture_is_one_line_and_leaves_nothing(
    name: str, content: bytes | None, told: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(tmp_path / name, "-o", tmp_path / "seen.png", model=model) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert {path.name for path in tmp_path.iterdir()} <= {name}


def test_a_picture_beyond_max_pixels_is_not_decoded(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in ("jpg", "png", "webp", "bmp", "tif"):
        scene().save(tmp_path / f"photo.{suffix}")
        source = tmp_path / f"photo.{suffix}"
        assert run(source, "-o", tmp_path / "seen.png", "--max-pixels", 80 * 48 - 1, model=model) == 1
        assert (
            "a picture of 80x48 is larger than --max-pixels 3839; --max-pixels 3840 takes it" in capsys.readouterr().err
        )
    Image.new("RGB", (5000, 4000)).save(tmp_path / "large.jpg", quality=5)
    with PictureSource(tmp_path / "large.jpg") as source:
        assert (source.info.width, source.info.height) == (5000, 4000), "more than a video's pictures may have"


def test_a_heic_says_what_it_needs_where_that_is_missing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert run(tmp_path / "photo.heic", "-o", tmp_path / "seen.png", model=model) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "photo.heic: a HEIC, which needs pillow-heif: pip install" in line


def test_a_heic_is_segmented_upright_with_what_its_camera_noted(model: Path, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    turn = TURNS[6]
    assert turn is not None
    heif.from_pillow(scene().transpose(turn)).save(tmp_path / "photo.heic", exif=exif_of(6).tobytes(), quality=95)
    assert is_upright(mask_of(tmp_path / "photo.heic", model, tmp_path))


def test_info_of_a_picture_says_its_size_upright_date_camera_and_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = TURNS[6]
    assert turn is not None
    scene().transpose(turn).save(tmp_path / "photo.jpg", exif=exif_of(6, t306="2026:06:02 08:00:00"))  # edited
    assert main(["info", str(tmp_path / "photo.jpg"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "picture"
    assert (facts["width"], facts["height"]) == (80, 48)
    assert (facts["stored_width"], facts["stored_height"], facts["orientation"]) == (48, 80, 6)
    assert facts["taken"] == "2026-05-01T10:11:12"
    assert facts["camera"] == "ACME Phone 9"
    assert (facts["latitude"], facts["longitude"]) == pytest.approx((48.135417, -11.5), abs=1e-6)
    assert main(["info", str(tmp_path / "photo.jpg")]) == 0
    told = capsys.readouterr().out
    for words in ("80x48", "48x80, turned by EXIF's orientation 6", "48.135417, -11.500000"):
        assert words in told
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "again.jpg")
    (tmp_path / "again.jpg").write_bytes(b"junk\xff\xfe")
    assert main(["info", str(tmp_path / "again.jpg")]) == 1


def test_of_a_profile_that_unpacks_to_more_than_any_has_only_a_part_is_unpacked(tmp_path: Path) -> None:
    scene().save(tmp_path / "photo.png", icc_profile=bytes(1 << 26))
    assert (tmp_path / "photo.png").stat().st_size < 1 << 18
    assert len(read_head(tmp_path / "photo.png").icc) <= 1 << 24


def test_a_damaged_head_raises_nothing_but_what_it_says(tmp_path: Path) -> None:
    """Each byte of the head changed in turn."""
    scene().save(tmp_path / "photo.jpg", exif=exif_of(6))
    content = (tmp_path / "photo.jpg").read_bytes()
    for at in range(2, 300, 3):
        (tmp_path / "odd.jpg").write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        assert read_head(tmp_path / "odd.jpg").orientation in range(1, 9)
    with pytest.raises(SourceError, match="no such file"):
        read_head(tmp_path / "none.jpg")
