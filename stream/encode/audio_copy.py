"""Copy a video's sound into another container, packet by packet, without decoding it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from ..decode.opening import open_file

log = logging.getLogger(__name__)

_PEEK_S = 10  # a stream that is silent for so long has most likely no packets at all


class AudioCopy:
    """The audio of `source` going into `target`.

    It has a container of its own: the one being decoded belongs to another thread. Damaged or unsuitable sound is
    left out with a warning; it never ends a run.

    Args:
        source: the file.
        target: an output whose header is not yet written; each audio stream of the source gets a twin there.
        shift: seconds taken from all times. Sound from before `shift` is left out where `cut`.
        cut: whether the run began after the source's beginning.
    """

    def __init__(self, source: Path, target: OutputContainer, *, shift: Fraction, cut: bool) -> None:
        self._source = source
        self._target = target
        self._shift = shift
        self._container: InputContainer = open_file(source)
        self._last_dts: dict[int, int] = {}
        # A muxer that waits for a stream's first packet holds everything back in memory, so a twin is made only for
        # streams that are seen to have packets.
        self._waiting: deque[av.Packet[AudioStream]] = deque()
        self._packets = self._read(cut)
        self._twins = self._add_streams()

    def advance(self, until: Fraction) -> None:
        """Write the sound that begins before `until`, in seconds of the source."""
        while packet := self._next():
            assert packet.pts is not None, "_read leaves packets without a time out"
            if packet.pts * packet.time_base >= until:
                self._waiting.appendleft(packet)
                return
            self._write(packet)

    def _next(self) -> av.Packet[AudioStream] | None:
        return self._waiting.popleft() if self._waiting else next(self._packets, None)

    def _write(self, packet: av.Packet[AudioStream]) -> None:
        if (twin := self._twins.get(packet.stream_index)) is None:
            return
        assert packet.pts is not None
        assert packet.dts is not None
        ticks = round(self._shift / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        # Muxers refuse a step back in time; a stray packet is not worth the run.
        if packet.dts <= self._last_dts.get(packet.stream_index, packet.dts - 1):
            return
        self._last_dts[packet.stream_index] = packet.dts
        packet.stream = twin
        self._target.mux(packet)

    def _read(self, cut: bool) -> Iterator[av.Packet[AudioStream]]:
        """The packets to copy, in file order, up to the first that cannot be read."""
        # Matroska has no negative times: its muxer would delay picture and sound until none is left. The sound from
        # before 0 is an encoder's run-in, which players leave out.
        earliest = self._shift if cut or self._target.format.name == "matroska" else None
        try:
            if cut:
                self._container.seek(int(self._shift * av.time_base))
            for packet in self._container.demux(self._container.streams.audio):
                if packet.pts is None or packet.dts is None:
                    continue
                if earliest is None or packet.pts * packet.time_base >= earliest:
                    yield packet
        except av.FFmpegError as exc:
            log.warning("%s: the sound ends early (%s)", self._source, exc.strerror)

    def _add_streams(self) -> dict[int, AudioStream]:
        silent = {stream.index for stream in self._container.streams.audio}
        for packet in self._packets:
            self._waiting.append(packet)
            silent.discard(packet.stream_index)
            assert packet.pts is not None
            if not silent or packet.pts * packet.time_base > self._shift + _PEEK_S:
                break
        twins = {}
        for stream in self._container.streams.audio:
            if stream.index not in silent and (twin := self._twin(stream)) is not None:
                twins[stream.index] = twin
        return twins

    def _twin(self, stream: AudioStream) -> AudioStream | None:
        try:
            twin = self._target.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError):
            codec = stream.codec_context.name if stream.codec_context else "unknown"
            name = Path(self._target.name).suffix
            log.warning("%s: a %s file cannot hold %s sound, so it is left out", self._source, name, codec)
            return None
        if stream.language:
            twin.metadata["language"] = stream.language
        return twin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._packets.close()  # type: ignore[attr-defined]  # before the container that it reads
        self._container.close()
