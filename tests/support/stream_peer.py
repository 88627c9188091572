"""A server that takes one published stream, as a process of its own that is given its URL and format.

FFmpeg's own listeners, so a real handshake. A line for each frame decoded: its time, whether it is a keyframe, its
width; and one for each of sound with its time. Killed and stopped from outside.
"""

from __future__ import annotations

import sys

import av

_OPTIONS = {
    "rtsp": {"rtsp_flags": "listen", "listen_timeout": "30"},
    "flv": {"listen": "1"},
    "mpegts": {},
}


def main() -> None:
    url, kind = sys.argv[1:]
    _say("listening")
    with av.open(url, format=kind, options={"analyzeduration": "100000", **_OPTIONS[kind]}) as container:
        _say("connected")
        for packet in container.demux([*container.streams.video, *container.streams.audio]):
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    _say(f"{float(frame.time or 0):.3f} {int(frame.key_frame)} {frame.width}")
                else:
                    _say(f"heard {float(frame.time or 0):.3f}")
    _say("ended")


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
