"""What a decoder was given, to find what of it has not come out."""

from __future__ import annotations

from typing import Any

import av


class SentPackets:
    """Packets in the order in which a decoder got them."""

    def __init__(self) -> None:
        self._is_torn = False
        self._highest: int | None = None
        self._ahead: list[int] | None = []  # times of those before the first picture

    def note(self, packet: av.Packet[Any], *, failed: bool = False) -> None:
        """The next one; the empty one at the end leaves it as it is."""
        if packet.size or failed:
            self._is_torn = failed or packet.is_corrupt
        if packet.pts is None or packet.is_discard:
            return
        self._highest = packet.pts if self._highest is None else max(self._highest, packet.pts)
        if self._ahead is not None:
            self._ahead.append(packet.pts)

    def lost_before(self, picture: av.VideoFrame) -> int:
        """How many give no picture as they are shown before the first, and lack the keyframe they are made from."""
        ahead, self._ahead = self._ahead, None
        pts = picture.pts
        return sum(time < pts for time in ahead) if ahead and pts is not None else 0

    def more_was_to_come(self, last_pts: int | None) -> bool:
        """Whether the last packet was damaged, or is shown later than the last picture that came out."""
        return self._is_torn or (self._highest is not None and last_pts is not None and self._highest > last_pts)
