"""A track of sound on its way into another container: copied by the packet, or made AAC where that cannot be played."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Protocol, TypeAlias

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.stream import Stream
from numpy.typing import NDArray

SoundPacket: TypeAlias = "av.Packet[AudioStream]"

# What FFmpeg and PyAV raise for sound that they cannot deal with; trouble with the disk is an `OSError`.
UNUSABLE: Final = (av.FFmpegError, ValueError, RuntimeError, LookupError, ArithmeticError)

# What browsers play in a file that is not Matroska, whose players are not browsers.
_PLAYED = {"mp4": {"aac", "mp3", "opus", "flac"}, "mov": {"aac", "mp3"}}
_CHANGES = "its rate or channels change"
_TRIED = 3  # packets that a muxer is shown, to see whether it takes such

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # of AAC's; nobody hears what more would add
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0"}  # AAC's own, which every player knows; 5.1 from 6 on
_BITS_A_SAMPLE, _MOST_BITS_S = 3, 64_000  # of a channel: AAC of good quality
_BLOCK = 1024  # samples of a packet of AAC
_MOST_SILENCE_S = 60  # to fill a gap with; after longer ones the times jump
_RUN_IN_S = Fraction(1, 4)  # sound from before 0, which an encoder needs and an edit list hides, is no longer


class Track(Protocol):
    """Makes packets for the target of packets of the source; times of both are the target's, in seconds."""

    what: str  # it is a track of, for people
    made: str  # what became of the sound, in words; empty where it is as it was

    def take(self, packet: SoundPacket) -> bool:
        """A packet of the source, in order; returns whether it can be used."""

    def ready(self, until: Fraction) -> list[SoundPacket]:
        """What begins before `until`, of what was taken."""

    def rest(self, until: Fraction) -> list[SoundPacket]:
        """All that is left up to `until`, where the pictures end."""


def open_track(
    stream: AudioStream, first: Sequence[SoundPacket], target: OutputContainer, *, shift: Fraction, cut: bool
) -> Track | None:
    """A twin of `stream` in `target`, as it is if that can be played there, else as AAC.

    Args:
        stream: of the source.
        first: packets of it.
        target: whose header is not yet written.
        shift: seconds to be taken from all times.
        cut: whether nothing from before `shift` is wanted.

    Returns:
        `None` where no packet of it can be decoded either.
    """
    codec = codec_name(stream)
    if codec in _PLAYED.get(target.format.name, {codec}) and _takes(target, stream, first):
        return CopiedTrack(stream, first, target, shift=shift, earliest=Fraction(0) if cut else _earliest(target))
    for packet in first:
        try:
            for frame in packet.decode():
                stream.codec_context.flush_buffers()  # they come again
                return AacTrack(codec, frame.sample_rate, frame.layout.nb_channels, target, shift=shift, like=stream)
        except UNUSABLE:
            continue
    return None


def _earliest(target: OutputContainer) -> Fraction:
    """Where there is no edit list to hide it, a muxer would delay picture and sound until no time is below 0."""
    return -_RUN_IN_S if target.format.name in _PLAYED else Fraction(0)


def codec_name(stream: AudioStream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def _takes(target: OutputContainer, stream: AudioStream, first: Sequence[SoundPacket]) -> bool:
    """Whether the muxer makes a file of such packets, tried in memory: it may say no when it is too late."""
    try:
        with av.open(io.BytesIO(), "w", format=target.format.name, container_options=target.container_options) as trial:
            track = CopiedTrack(stream, first, trial, shift=Fraction(0), earliest=None)
            for packet in first[:_TRIED]:
                track.take(_copy_of(packet))
            trial.mux(track.rest(Fraction(0)))
    except UNUSABLE:
        return False
    return True


def _copy_of(packet: SoundPacket) -> SoundPacket:
    copy: Any = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    made: SoundPacket = copy
    return made


class CopiedTrack:
    """Packets as they are. AAC that says with each packet what it is (ADTS) says it once, as containers want it.

    Args:
        stream: of the source.
        first: packets of it.
        target: whose header is not yet written.
        shift: seconds to be taken from all times.
        earliest: packets that begin before it are left out; `None` for none.

    Raises:
        ValueError, av.FFmpegError: its kind cannot be told, or is not for this container.
    """

    what, made = "sound", ""

    def __init__(
        self,
        stream: AudioStream,
        first: Sequence[SoundPacket],
        target: OutputContainer,
        *,
        shift: Fraction,
        earliest: Fraction | None,
    ) -> None:
        self._twin = _twin_of(stream, target)
        describe(self._twin, stream)
        self._shift = shift
        self._earliest = earliest
        self._packets: list[SoundPacket] = []
        self._last_dts: int | None = None
        self._least_step = 0 if target.format.name == "matroska" else 1
        self._kind: bytes | None = None  # of AAC with heads
        if codec_name(stream) == "aac":
            self._take_heads_off(stream, [packet for packet in first if _adts_kind(packet)], len(first))

    def _take_heads_off(self, stream: AudioStream, with_heads: list[SoundPacket], of: int) -> None:
        extradata = stream.codec_context.extradata
        if extradata and len(with_heads) < of:
            return  # it only looks like one
        if not with_heads:
            raise ValueError("AAC that does not say what it is")
        self._kind = _adts_kind(with_heads[0])
        self._without_heads = BitStreamFilterContext("aac_adtstoasc", stream)
        (bare,) = BitStreamFilterContext("aac_adtstoasc", stream).filter(_copy_of(with_heads[0]))
        self._twin.codec_context.extradata = bytes(bare.get_sidedata("new_extradata"))

    def take(self, packet: SoundPacket) -> bool:
        assert packet.pts is not None
        assert packet.dts is not None
        ticks = round(self._shift / packet.time_base)
        pts, dts = packet.pts - ticks, packet.dts - ticks
        # Muxers refuse a step back in time, and most of them one of 0; a stray packet is not worth the run. Some write
        # two packets with the time of the second.
        late = 0 if self._last_dts is None else max(self._last_dts + self._least_step - dts, 0)
        if late > max((packet.duration or 0) // 2, 1):
            return False
        pts, dts = pts + late, dts + late
        if self._earliest is not None and pts * packet.time_base < self._earliest:
            return True
        time_base, self._last_dts = packet.time_base, dts
        packets = list(self._bare(packet))
        for bare in packets:
            bare.pts, bare.dts, bare.time_base, bare.stream = pts, dts, time_base, self._twin
        self._packets += packets
        return bool(packets)

    def _bare(self, packet: SoundPacket) -> Iterable[SoundPacket]:
        if self._kind is None:
            if packet.has_sidedata("new_extradata"):  # Matroska would write it over something else
                raise ValueError(_CHANGES)
            return [packet]
        if (kind := _adts_kind(packet)) is None:
            return []  # damaged
        if kind != self._kind:
            raise ValueError(_CHANGES)
        # Without its side data, which would have Matroska write once more what the track is, over something else.
        return map(_copy_of, self._without_heads.filter(packet))

    def ready(self, until: Fraction) -> list[SoundPacket]:  # noqa: ARG002 - no more was taken
        packets, self._packets = self._packets, []
        return packets

    rest = ready


def _twin_of(stream: AudioStream, target: OutputContainer) -> AudioStream:
    try:
        return target.add_stream_from_template(stream)
    except ValueError:
        # PyAV lets a muxer have what it has names of its own for. Matroska takes as much again under those of Windows.
        twin = target.add_mux_stream("aac")
        assert isinstance(twin, AudioStream)
        BitStreamFilterContext("null", stream, twin)  # writes into it what the codec is
        return twin


def describe(twin: Stream, stream: Stream) -> None:
    """Have a track called what the one of the source is, and played or not as that."""
    names = ("language", "title", "handler_name")
    twin.metadata.update({name: stream.metadata[name] for name in names if name in stream.metadata})
    twin.disposition = stream.disposition


def _adts_kind(packet: SoundPacket) -> bytes | None:
    """What an ADTS header says of codec, rate and channels; `None` where there is none."""
    head = bytes(packet)[:4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    return bytes([head[2] & 0xFD, head[3] & 0xC0])


@dataclass(frozen=True, slots=True)
class AacKind:
    """What a muxer must know of AAC before it comes."""

    rate: int
    layout: str


class AacTrack:
    """Decoded, and encoded as AAC in step with the source's times: what is missing is silent, what overlaps is cut.

    Args:
        codec: of the source.
        rate: of the source; the track's where AAC has it.
        channels: likewise.
        target: whose header is not yet written.
        shift: seconds to be taken from all times.
        like: the track of the source, where that is one of a file.
    """

    what = "sound"

    def __init__(
        self,
        codec: str,
        rate: int,
        channels: int,
        target: OutputContainer,
        *,
        shift: Fraction = Fraction(0),
        like: AudioStream | None = None,
    ) -> None:
        self.made = "" if codec == "aac" else f"{codec} made aac"
        self._rate = next((known for known in _RATES if known >= rate), _RATES[-1])
        self._layout = _LAYOUTS.get(channels, "5.1")
        self.kind = AacKind(self._rate, self._layout)
        self._shift = shift
        self._earliest = _earliest(target)
        self._twin = target.add_stream("aac", rate=self._rate)
        assert isinstance(self._twin, AudioStream)
        if like is not None:
            describe(self._twin, like)
        self._twin.layout = self._layout
        self._twin.bit_rate = self._twin.layout.nb_channels * min(self._rate * _BITS_A_SAMPLE, _MOST_BITS_S)
        self._twin.time_base = self._twin.codec_context.time_base = Fraction(1, self._rate)
        self.tolerance_s = Fraction(_BLOCK, self._rate)  # of the source's times against the samples that it has
        # Those that are not encoded yet, and when they begin, in samples from the target's 0.
        self._samples: NDArray[np.float32] = np.zeros((self._twin.layout.nb_channels, 0), np.float32)
        self._begin: int | None = None
        self._unwanted = 0  # samples still to come that were there before, or are from before 0
        self._resampler: AudioResampler | None = None
        self._kind: tuple[object, ...] = ()  # of what the resampler takes
        self._next_s = Fraction(0)  # when the next frame begins, if nothing is missing
        self._packets: list[SoundPacket] = []

    def take(self, packet: SoundPacket) -> bool:
        for frame in packet.decode():
            self.take_frame(frame, self._time_of(frame))
        return True

    def _time_of(self, frame: AudioFrame) -> Fraction:
        if frame.pts is None or not frame.time_base:
            return self._next_s
        return frame.pts * frame.time_base - self._shift

    def take_frame(self, frame: AudioFrame, time: Fraction) -> None:
        """Sound of `time`, on the target's clock."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind or abs(time - self._next_s) > self.tolerance_s:
            self._take_resampled(None)
            self._kind, self._next_s = kind, time
            self._resampler = AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
            self._go_to(round(time * self._rate))
        self._next_s += Fraction(frame.samples, frame.sample_rate)
        frame.pts = None
        self._take_resampled(frame)

    def _take_resampled(self, frame: AudioFrame | None) -> None:
        for resampled in self._resampler.resample(frame) if self._resampler else ():
            if resampled is not None:
                samples = resampled.to_ndarray()
                dropped = min(self._unwanted, samples.shape[1])
                self._unwanted -= dropped
                self._samples = np.concatenate([self._samples, samples[:, dropped:]], axis=1)

    def _go_to(self, position: int) -> None:
        """The next samples are for that place."""
        if self._begin is None:
            self._begin, self._unwanted = max(position, 0), max(-position, 0)
            return
        end = self._begin + self._samples.shape[1]
        self._unwanted = max(end - position, 0)
        missing = max(position - end, 0)
        if missing > _MOST_SILENCE_S * self._rate:
            self._add_silence(-self._samples.shape[1] % _BLOCK)
            self._encode(self._samples.shape[1])
            self._begin = position
        else:
            self._add_silence(missing)

    def _add_silence(self, count: int) -> None:
        self._samples = np.pad(self._samples, ((0, 0), (0, count)))

    def ready(self, until: Fraction) -> list[SoundPacket]:
        """As in `Track`."""
        if self._begin is not None:
            wanted = -(-(round(until * self._rate) - self._begin) // _BLOCK) * _BLOCK
            self._encode(min(max(wanted, 0), self._samples.shape[1]) // _BLOCK * _BLOCK)
        return self._taken()

    def rest(self, until: Fraction) -> list[SoundPacket]:
        """As in `Track`."""
        self._take_resampled(None)
        if self._begin is not None:
            left = min(max(round(until * self._rate) - self._begin, 0), self._samples.shape[1])
            self._samples = self._samples[:, :left]
            self._add_silence(-left % _BLOCK)
            self._encode(self._samples.shape[1])
            self._keep(self._twin.encode(None))
        return self._taken()

    def _encode(self, count: int) -> None:
        """The first samples, whole blocks of them."""
        assert self._begin is not None
        for first in range(0, count, _BLOCK):
            block = np.ascontiguousarray(self._samples[:, first : first + _BLOCK])
            frame = AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._begin + first, Fraction(1, self._rate)
            self._keep(self._twin.encode(frame))
        self._samples, self._begin = self._samples[:, count:], self._begin + count

    def _keep(self, packets: Iterable[SoundPacket]) -> None:
        for packet in packets:
            assert packet.pts is not None
            if packet.pts * packet.time_base >= self._earliest:
                packet.stream = self._twin
                self._packets.append(packet)

    def _taken(self) -> list[SoundPacket]:
        packets, self._packets = self._packets, []
        return packets
