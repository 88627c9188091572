"""The sound of a video into the file of its overlay, and what else lies beside its pictures: subtitles and data.

Whatever is wrong with it is told, and harms no picture.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Self

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from ..decode.gps import gps_boxes
from ..decode.opening import demuxed, open_file
from ..decode.place import RESET_S
from ..decode.video_stream import is_read_already, video_stream
from ..errors import SourceError
from ..frames import Frame, Moment
from .carried import name_of, open_carried
from .sound_tracks import UNUSABLE, AacTrack, SoundPacket, Track, codec_name, open_track

log = logging.getLogger(__name__)

# How far a file is read before the pictures for sound that may come: sound lies beside the pictures that it belongs to,
# and a track that is silent for so long has most likely no packets at all.
_AHEAD_S = 10
_AHEAD_BYTES = 64 << 20
_LOOKED_AT = 8  # packets of a track, to see what it is: decoders give nothing for the first
_USUAL_RATE = 48_000  # where a camera does not tell
_JITTER_S = Fraction(1, 10)  # of a camera's times, some of which are those of its sending


class Sound:
    """Tracks of sound, and whatever else, going into `target`. What cannot be had is left out with a warning.

    Args:
        name: of what it comes from.
        target: an output whose header is not yet written.
        shift: seconds taken from all times.
    """

    def __init__(self, name: str, target: OutputContainer, *, shift: Fraction) -> None:
        self._name = name
        self._target = target
        self._shift = shift
        self._tracks: dict[int, Track] = {}  # by the number of their stream in the source
        self.carried: list[str] = []  # what they are, where they are not sound

    @property
    def made(self) -> str:
        """What became of the sound, in words; empty where it is as it was."""
        return ", ".join(dict.fromkeys(track.made for track in self._tracks.values() if track.made))

    def hear(self, frame: Frame) -> None:
        """A frame that will be written: of a camera, with what was heard until it came."""

    def advance(self, until: Fraction) -> None:
        """Write what begins before `until`, in seconds of the source."""
        for index in list(self._tracks):
            self._use(index, lambda track: self._target.mux(track.ready(until - self._shift)))

    def finish(self, until: Fraction) -> None:
        """Write what is left up to there."""
        self.advance(until)
        for index in list(self._tracks):
            self._use(index, lambda track: self._target.mux(track.rest(until - self._shift)))

    def leave_out(self, exc: Exception) -> bool:
        """Write no more, where a muxer refuses what it was given; returns whether it was that, and not the disk."""
        if not _is_refusal(exc) or not self._tracks:
            return False
        for index in list(self._tracks):
            self._give_up(index, exc)
        return True

    def _use(self, index: int, use: Callable[[Track], None]) -> None:
        if (track := self._tracks.get(index)) is None:
            return
        try:
            use(track)
        except UNUSABLE as exc:
            if not _is_refusal(exc):
                raise
            self._give_up(index, exc)

    def _give_up(self, index: int, exc: Exception) -> None:
        track = self._tracks.pop(index)
        why = getattr(exc, "strerror", None) or exc
        log.warning("%s: the rest of its %s is left out (%s)", self._name, track.what, why)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class CameraSound(Sound):
    """What a camera's microphone hears, as AAC, in step with the frames.

    Args:
        name: of what it comes from.
        target: an output whose header is not yet written.
        shift: seconds taken from all times.
        first: when the first frame is.
    """

    def __init__(self, name: str, target: OutputContainer, *, shift: Fraction, first: Moment) -> None:
        super().__init__(name, target, shift=shift)
        self._sound, self._taken = first.sound, 0
        rate, channels = first.sound.rate or _USUAL_RATE, first.sound.channels or 1
        self._track = AacTrack(first.sound.codec, rate, channels, target)
        self._track.tolerance_s = _JITTER_S
        self._tracks[0] = self._track
        self.kind = self._track.kind

    def heard_with(self, frame: Frame) -> list[SoundPacket]:
        """Of what was heard until the frame was written, all that can be encoded; for those who do not wait."""
        self.hear(frame)
        packets: list[SoundPacket] = []
        self._use(0, lambda track: packets.extend(track.ready(frame.time - self._shift + _AHEAD_S)))
        return packets

    def hear(self, frame: Frame) -> None:
        if frame.heard is None or frame.heard.time is None:
            return
        if frame.heard.sound is not self._sound:  # it is connected anew
            self._sound, self._taken = frame.heard.sound, 0
        to_ours = frame.time - self._shift - frame.heard.time
        self._taken, new = self._sound.since(self._taken)
        for time, sound in new:
            self._use(0, lambda _, sound=sound, time=time: self._track.take_frame(sound, time + to_ours))  # type: ignore[misc]


def open_tracks(
    source: Path, target: OutputContainer, *, shift: Fraction, cut: bool, until: Fraction | None, metadata: bool
) -> FileTracks | None:
    """As `FileTracks`; `None` where the file is gone."""
    try:
        return FileTracks(source, target, shift=shift, cut=cut, until=until, metadata=metadata)
    except SourceError as exc:
        log.warning("%s; its sound, and what else it carries, is left out", exc)
        return None


class FileTracks(Sound):
    """What a file has beside its pictures.

    It has a container of its own: the one being decoded belongs to another thread.

    Args:
        source: the file.
        target: an output whose header is not yet written; each track of the source gets a twin there.
        shift: seconds taken from all times.
        cut: whether the run began after the source's beginning; sound from before `shift` is left out then.
        until: where it ends, in seconds of the source, if that is known.
        metadata: take subtitles and data, too.
    """

    def __init__(
        self,
        source: Path,
        target: OutputContainer,
        *,
        shift: Fraction,
        cut: bool,
        until: Fraction | None,
        metadata: bool = True,
    ) -> None:
        super().__init__(str(source), target, shift=shift)
        self._container: InputContainer = open_file(source)
        self._until = until
        others = [stream for stream in self._container.streams if stream.type not in ("video", "audio")]
        others = [stream for stream in others if metadata and not is_read_already(stream)]
        # Packets of a track that are looked at before the pictures: muxers wait for the first of data.
        self._looked_at = {stream.index: int(stream.type == "data" and stream.frames > 0) for stream in others}
        self._looked_at |= {stream.index: _LOOKED_AT for stream in self._container.streams.audio}
        self._unusable = Counter[str]()  # packets, by what they are of
        self._is_read = False  # all of the file
        self._last_dts: dict[int, int] = {}  # of each stream
        self._step = 0  # from one picture to the next, in its unit
        self._restarts: Counter[int] = Counter()  # of each stream's clock
        self._added_s = [Fraction(0)]  # to times of the file, after so many restarts
        self._packets = self._read(cut)
        # A muxer that waits for a stream's first packet holds everything back in memory, so a twin is made only for
        # tracks that are seen to have packets.
        self._waiting = self._first_packets()
        for stream in self._container.streams.audio:
            self._open_track(stream, cut)
        if metadata:
            self._open_others(others)

    def advance(self, until: Fraction) -> None:
        while packet := self._next(until):
            self._use(packet.stream_index, lambda track, packet=packet: self._take(track, packet))  # type: ignore[misc]
        super().advance(until)

    def finish(self, until: Fraction) -> None:
        super().finish(until)
        for what in {track.what: None for track in self._tracks.values()}:
            if count := self._unusable[what]:
                log.warning("%s: of its %s %d packets are damaged or out of order", self._name, what, count)

    def _take(self, track: Track, packet: SoundPacket) -> None:
        try:
            is_usable = track.take(packet)
        except av.FFmpegError:
            is_usable = False
        if not is_usable:
            self._unusable[track.what] += 1

    def _next(self, until: Fraction) -> SoundPacket | None:
        """The next packet beside the pictures, if it begins before `until`."""
        while packet := self._waiting.popleft() if self._waiting else next(self._packets, None):
            time = _time(packet)
            if packet.stream_index in self._looked_at:
                if time >= until:
                    self._waiting.appendleft(packet)
                    return None
                return packet
            if time >= until + _AHEAD_S:
                return None
        return None

    def _read(self, cut: bool) -> Iterator[SoundPacket]:
        """The packets in file order, up to the first that cannot be read; pictures, too, to see how far it is."""
        indices = [*self._looked_at, video_stream(self._container, self._name).index]
        streams = [stream for stream in self._container.streams if stream.index in indices]
        packets = demuxed(self._container, streams)
        try:
            if cut:
                self._container.seek(int(self._shift * av.time_base))
            for packet in packets:
                if packet.pts is not None and packet.dts is not None:
                    self._go_on(packet)
                    yield packet
        except av.FFmpegError as exc:
            log.warning("%s: the sound ends early (%s)", self._name, exc.strerror)

    def _go_on(self, packet: SoundPacket) -> None:
        """Where a recording's clock starts again, the sound's times go on as the pictures' do: see `FrameClock`."""
        assert packet.pts is not None
        assert packet.dts is not None
        index, unit = packet.stream_index, packet.time_base
        before, self._last_dts[index] = self._last_dts.get(index, packet.dts), packet.dts
        if packet.dts < before and (before - packet.dts) * unit > RESET_S:
            self._restarts[index] += 1
            if index not in self._looked_at:
                self._added_s.append(self._added_s[-1] + (before + self._step - packet.dts) * unit)
        elif index not in self._looked_at:
            self._step = packet.dts - before
        if restarts := self._restarts[index]:
            # Each stream has its own last packets from before; what of the sound starts again first is out of order.
            ticks = round(self._added_s[min(restarts, len(self._added_s) - 1)] / unit)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks

    def _first_packets(self) -> deque[SoundPacket]:
        """Some of each track that has any, and all that is beside the pictures before these."""
        waiting: deque[SoundPacket] = deque()
        size, missing = 0, dict(self._looked_at)
        for packet in self._packets:
            size += packet.size
            if packet.stream_index in self._looked_at:
                waiting.append(packet)
                missing[packet.stream_index] -= 1
            is_far = size > _AHEAD_BYTES or _time(packet) > self._shift + _AHEAD_S
            if is_far or all(count <= 0 for count in missing.values()):
                break
        else:
            self._is_read = True
        return waiting

    def _open_track(self, stream: AudioStream, cut: bool) -> None:
        own = (packet for packet in self._waiting if packet.stream_index == stream.index)
        first = list(islice(own, _LOOKED_AT))
        if not first:
            if not self._is_read:
                log.warning("%s: a sound track is empty for %d s, and is left out", self._name, _AHEAD_S)
            return
        track, why = None, "it cannot be decoded"
        try:
            track = open_track(stream, first, self._target, shift=self._shift, cut=cut)
        except UNUSABLE as exc:
            why = str(getattr(exc, "strerror", None) or exc)
        if track:
            self._tracks[stream.index] = track
        else:
            log.warning("%s: its %s sound is left out (%s)", self._name, codec_name(stream), why)

    def _open_others(self, streams: Sequence[Stream]) -> None:
        """Subtitles and data; what the target does not take is named."""
        left_out = ["positions in boxes of Novatek's"] if gps_boxes(Path(self._name)) else []
        seen = {packet.stream_index for packet in self._waiting}
        for stream in streams:
            track = None
            if stream.index in seen or stream.type != "data":
                track = open_carried(stream, self._target, shift=self._shift, until=self._until)
            if track:
                self._tracks[stream.index] = track
                self.carried.append(name_of(stream))
            else:
                left_out.append(name_of(stream))
        if left_out:
            log.warning("%s: not taken into its overlay: %s", self._name, ", ".join(left_out))

    def __exit__(self, *_: object) -> None:
        self._packets.close()  # type: ignore[attr-defined]  # before the container that it reads
        self._container.close()


def _is_refusal(exc: Exception) -> bool:
    """Whether it is what was to be written that is wrong, and not the disk. Muxers say EPERM, which no disk does."""
    return not isinstance(exc, OSError) or exc.errno == errno.EPERM


def _time(packet: SoundPacket) -> Fraction:
    assert packet.pts is not None, "_read leaves packets without a time out"
    return packet.pts * packet.time_base
