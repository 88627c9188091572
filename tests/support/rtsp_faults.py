"""What the RTSP server does wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.support.rtsp_request import Scheme

Step = Literal["connect", "OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
STEPS: tuple[Step, ...] = ("connect", "OPTIONS", "DESCRIBE", "SETUP", "PLAY")


@dataclass
class Faults:
    """None to begin with; each may be changed at any time, and is looked at when it matters."""

    hang_at: Step | None = None  # say nothing any more from this request on
    garbage_at: Step | None = None  # answer it with bytes that mean nothing
    status: int | None = None  # refuse with this number
    status_at: Step = "DESCRIBE"  # this request
    user: str | None = None  # let in nobody else, and him only with
    password: str = ""
    auth: Scheme = "digest"
    nonce: str = "b7c5a1f0"  # in its challenge; another is one of its own, for which every proof is to be made anew
    session_s: int = 60  # that a session is said to last unless something is asked in it
    line: str = "\r\n"  # what ends the lines of its answers
    sends_to: str | None = None  # another address, in answer to DESCRIBE
    media: Literal["video", "audio", "both"] = "video"
    sound: str = "0 PCMU"  # the sound's payload type, and what it says that this is
    stalled: Literal["no", "video", "all"] = "no"  # what is not sent though the connection stands; reports are
    reports: bool = True  # RTCP sender reports
    loss: float = 0.0  # share of the RTP packets that do not come; audio's do
    burst_s: float = 0.0  # frames of so many seconds at once, and then none for as long
    speed: float = 1.0  # seconds of video a second
    joins_at_key: bool = True  # a client's first frame is one that can be decoded
    first_timestamp: int = 0x1234_5678  # of RTP's clock, which begins again after 32 bits
