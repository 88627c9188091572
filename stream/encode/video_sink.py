"""Write the overlay video: H.264 at the source's own frame times, from 0 on, with all else that the source carries."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from fractions import Fraction
from itertools import islice
from os import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from ..decode.boxes import boxes
from ..decode.opening import ANY_TAGS, open_container
from ..errors import OutputError, is_failure
from ..frames import PIECE, Carried, Moment, Piece, Place, Position, SegmentedFrame, Sink, VideoInfo
from ..system.disk import PartialOutput, closing, earlier_path, partial_path, sync_file, writing
from .carried import chapters_for, needs_keys, tags_for
from .h264 import ANY_ENCODING, USUAL_RATE, Encoding, KeyTimes, PiecewiseEncoder, add_video, choose_encoder, stamp
from .sound import CameraSound, Sound, open_tracks

log = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".mov", ".mkv")
PIECE_SUFFIX = ".mp4"
_MIN_TIMESCALE = 10_000  # as FFmpeg's own: coarser ones place sound badly, and some players stutter


class OverlayVideoSink(Sink):
    """A `Sink` that encodes what `render` draws.

    Times are those of the source, counted from the first frame of the run: players show nothing before a first picture
    that comes later. The sound moves with the pictures, and begins and ends with them; so do tags, chapters, subtitles
    and data.

    Args:
        path: .mp4, .mov or .mkv.
        info: of the source.
        render: draws a result: a new yuv420p frame of even size, which this sink may write the time into.
        source: the file whose sound to take, and all else that it carries; None for none.
        began: where the run did, if not with the first frame written here.
        end: where it is to end, in seconds from the first frame of the source.
        metadata: keep what the source carries besides pictures and sound.
        hides: something is hidden in the pictures; a line says what may still tell where they were taken.
        overwrite: replace what is there.
        encoding: of its pictures.

    Raises:
        OutputError: the path, or what is asked of the encoder, cannot be.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        render: Callable[[SegmentedFrame], av.VideoFrame],
        *,
        source: Path | None = None,
        began: Place | None = None,
        end: Fraction | None = None,
        metadata: bool = True,
        hides: bool = False,
        overwrite: bool = False,
        encoding: Encoding = ANY_ENCODING,
    ) -> None:
        refuse_no_video(path)
        self._info = info
        self._render = render
        self._source = source
        size = (info.height + info.height % 2, info.width + info.width % 2)
        self._encoder = choose_encoder(size, encoding)
        self._path = path
        self._output = PartialOutput(path, overwrite=overwrite)
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._sound: Sound | None = None
        self._shift = 0  # taken from every pts
        self._keys = KeyTimes() if info.live else None  # a file's rate is known, and its pieces begin with one
        self._last_time: Fraction | None = None
        self._last_gap = 1 / (info.rate or USUAL_RATE)
        self._earlier = partial_path(earlier_path(path))
        self._frames_kept = self._written = 0
        self._began = began
        self._carried = info.carried if source and metadata else Carried(first_s=info.carried.first_s)
        self._metadata, self._hides = metadata, hides
        self._until = None if end is None else info.carried.first_s + end
        self._size: tuple[int, int] | None = None

    def write(self, result: SegmentedFrame) -> None:
        picture, time = self._render(result), result.frame.time
        with writing(self._path):
            if self._container is None:
                began = self._began or Place(0, result.frame.index, result.frame.pts)
                self._open(picture, began, result.frame.heard)
            self._notice_size(picture)
            if self._sound:
                self._sound.hear(result.frame)
            key = self._keys is not None and self._keys.is_due(result.frame)
            stamp(picture, result.frame, shift=self._shift, key=key)
            self._mux(self._encoder_of_pieces.encode(picture))
        self._output.used = True
        self._written += 1
        self._note_time(time)

    def append(self, piece: Piece) -> None:
        """As in `Sink`; pieces have no sound, and tell their times from where the run began."""
        with writing(self._path), open_container(piece.file(PIECE_SUFFIX)) as other:
            if self._container is None:
                self._open(next(other.decode(video=0)), piece.began)
                other.seek(0)
            times = sorted(self._take_over(other))
        self._output.used = True
        for time in times[-2:]:
            self._note_time(time)

    def _note_time(self, time: Fraction) -> None:
        """Of a picture that was written: how long the last one is to be shown is as long as the one before."""
        if self._last_time is not None:
            self._last_gap = time - self._last_time
        self._last_time = time

    def _open(self, picture: av.VideoFrame, began: Place, heard: Moment | None = None) -> None:
        """Make the file for pictures like the first: only with it are size and colours known.

        Args:
            picture: the first.
            began: where the run did.
            heard: with it, by a camera.
        """
        self._shift = began.pts
        time_base = self._info.time_base
        self._shift_s = self._shift * time_base
        carried = self._carried
        since_s = self._shift_s - carried.first_s if began.index else Fraction(0)
        tags = tags_for(carried, since_s=since_s, rate=self._info.rate)
        options = self._container_options(time_base, keys=needs_keys(tags, self._path.suffix.lower()))
        self._container = av.open(self._output.path, "w", container_options=options, **ANY_TAGS)
        self._container.metadata.update(tags)
        self._stream = add_video(self._container, self._encoder, picture, self._info)
        self._encoder_of_pieces = PiecewiseEncoder(self._stream, self._encoder, live=self._info.live)
        if self._source is not None and (self._info.has_audio or carried.has_tracks):
            cut = began.index > 0
            self._sound = open_tracks(
                self._source,
                self._container,
                shift=self._shift_s,
                cut=cut,
                until=self._until,
                metadata=self._metadata,
            )
        elif heard:
            self._sound = CameraSound(str(self._path), self._container, shift=self._shift_s, first=heard)
        if self._hides:
            self._tell_place(tags)
        try:
            self._container.start_encoding()
        except BaseException:
            self._container = None  # FFmpeg crashes where it is given pictures after that has failed
            raise
        if self._frames_kept:
            self._copy_kept()

    def _tell_place(self, tags: Mapping[str, str]) -> None:
        """Say what may: whoever hides people in the pictures is thinking of them."""
        places = [name for name in tags if "location" in name.lower()] + (self._sound.carried if self._sound else [])
        if places:
            log.warning(
                "%s: what it carries may tell where it was taken: %s; --no-metadata leaves that out",
                *(self._path, ", ".join(places)),
            )

    def _container_options(self, time_base: Fraction, *, keys: bool) -> dict[str, str]:
        # Write out at once, and do not wait more than a second (in microseconds) for sound that does not come, so
        # that a process that is killed leaves nearly all it had.
        options = {"flush_packets": "1", "max_interleave_delta": "1000000"}
        if self._path.suffix.lower() == ".mkv":
            return options | {"cluster_time_limit": "1000"}  # ms; a cluster is in memory until it is whole
        timescale = str(_timescale(time_base))
        return options | {
            # Fragments while it is written, so that it plays even then; an ordinary mp4 once closed. The delayed
            # header makes room for an edit list, without which B-frames, where there are any, push all times back by
            # two frames.
            "movflags": "+hybrid_fragmented+delay_moov" + ("+use_metadata_tags" if keys else ""),
            "frag_duration": "1000000",
            "video_track_timescale": timescale,
            # The edit list counts in this one. Its default, 1/1000 s, would round when the sound begins.
            "movie_timescale": timescale,
            "write_tmcd": "0",  # a time code stays a tag: fragments do not hold the track that is made of one
        }

    def _notice_size(self, picture: av.VideoFrame) -> None:
        size = (picture.width, picture.height)
        if self._size not in (None, size):
            log.warning("%s: the picture is %dx%d from here on; it is scaled to the first size", self._path, *size)
        self._size = size

    def resume(self, position: Position) -> Position:
        """As in `Sink`; what is kept are whole pieces."""
        if not self._output.path.exists() and not self._earlier.exists():
            raise OutputError(
                f"{self._output.path}: is not there any more, so the run cannot go on; pass --overwrite to start anew"
            )
        self._output.is_ours = True
        for path in (self._output.path, self._earlier):
            cut_torn(path)
        left, left_before = _packets(self._output.path), _packets(self._earlier)
        last = min(max(left, left_before), position) - 1  # is made anew at least: a file is opened with a picture
        self._frames_kept = max(last, 0) // PIECE * PIECE
        with writing(self._path):
            # It stays until what is kept of it stands in the new file: that run may be killed, too.
            if left >= left_before:
                self._output.path.replace(self._earlier)
        return self._frames_kept

    def _copy_kept(self) -> None:
        """Take over the pictures of the earlier run's pieces as they are."""
        with open_container(self._earlier) as earlier:
            deque(self._take_over(earlier, self._frames_kept), maxlen=0)

    def _take_over(self, other: InputContainer, most: int | None = None) -> Iterator[Fraction]:
        """Write the pictures of a file of such a sink as they are, the first `most`; gives the time of each."""
        stream = other.streams.video[0]
        # What a file holds begins each part of a picture with its length, and muxers take start codes.
        with_start_codes = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in islice((packet for packet in other.demux(stream) if packet.size), most):
            assert packet.pts is not None
            yield packet.pts * packet.time_base + self._shift_s
            self._mux(map(self._encoder_of_pieces.take_over, with_start_codes.filter(packet)))

    @property
    def sound(self) -> str:
        return self._sound.made if self._sound else ""

    def sync(self) -> None:
        if self._container is None:
            return
        with writing(self._path):
            sync_file(self._output.path)
            if self._written > PIECE:
                self._earlier.unlink(missing_ok=True)

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        """Write pictures, and the sound up to each.

        Sound before its picture: the muxer orders what it has, but waits for sound that it has not. And never much
        before it: sound that waits for pictures ends a fragment, and the last picture's duration is then a guess.
        """
        assert self._container is not None
        for packet in packets:
            assert packet.pts is not None
            if self._sound:
                self._sound.advance(packet.pts * packet.time_base + self._shift_s)
            with self._sound_blamed():
                self._container.mux(packet)

    @contextmanager
    def _sound_blamed(self) -> Iterator[None]:
        """Go on without sound where a muxer refuses something: pictures of an encoder it does not."""
        try:
            yield
        except av.FFmpegError as exc:
            if self._sound is None or not self._sound.leave_out(exc):
                raise

    def _close(self) -> None:
        """Write what the encoder still holds, the last of the sound, the chapters, and the index."""
        if self._container is None:
            return
        with self._sound or nullcontext(), self._sound_blamed(), self._container:
            self._mux(self._encoder_of_pieces.encode(None))
            if self._last_time is not None:
                until = self._last_time + self._last_gap
                if self._sound:
                    self._sound.finish(until)
                # Not before: only now is it known where they end.
                self._container.set_chapters(chapters_for(self._carried, shift=self._shift_s, until=until))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._output)
            if not self._frames_kept:
                with writing(self._path):
                    self._earlier.unlink(missing_ok=True)  # now that the other is there: of the two one always is
            stack.push(closing(self._path, self._close))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._stack.__exit__(kind, exc, at)
        finally:
            cut_torn(self._output.path)  # where it is not whole, and keeps that name
        if self._container is not None and not is_failure(exc):
            self._earlier.unlink(missing_ok=True)


def cut_torn(path: Path) -> None:
    """Take half a fragment's table from the end of a mp4: with that, FFmpeg opens nothing of it.

    Half of a fragment's pictures may stay. A file that is not there, or is no mp4, stays as it is.
    """
    with suppress(OSError), path.open("r+b") as file:
        size = file.seek(0, SEEK_END)
        last = None
        for last in boxes(file, 0, size):
            if not last.begin and last.kind != b"ftyp":
                return
        if last is None or not last.is_sound:
            return
        if last.end < size:  # not even a head
            file.truncate(last.end)
        elif last.end > size and last.kind == b"moof":
            file.truncate(last.begin)


def _packets(path: Path) -> int:
    """How many pictures a file has, as far as it can be read; 0 where it has none, or is none."""
    try:
        with open_container(path) as container:
            return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    except (av.FFmpegError, OSError, IndexError):
        return 0  # its run was killed before it came to that


def refuse_no_video(path: Path) -> None:
    """Raises `OutputError` where the suffix is none of a video that can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: a video's suffix is one of {', '.join(SUFFIXES)}", usage=True)


def _timescale(time_base: Fraction) -> int:
    """Ticks per second in which every multiple of `time_base` is whole, for a mp4 track."""
    timescale = time_base.denominator
    while timescale < _MIN_TIMESCALE:
        timescale *= 2
    return timescale
