"""Times for a camera's frames that go on rising, whatever its own clock does, over every reconnection."""

from __future__ import annotations

from fractions import Fraction

TIME_BASE = Fraction(1, 90_000)  # RTP's own for video
# By which the camera's clock may differ from ours before it is set anew. A server's first pictures may be seconds old,
# and what a network held up comes late: neither is a wrong clock.
_TOLERANCE_S = 5


class LiveClock:
    """Gives pts in units of `TIME_BASE`, 0 for the first frame, in step with the frames' arrival in the long run.

    Between frames the camera's own clock counts, as a network's delay varies. Where that steps back, or is far off, it
    is set by the time of arrival. So a gap in the frames is a gap in their times.
    """

    def __init__(self) -> None:
        self._started: float | None = None  # arrival of the first frame
        self._arrived = 0.0  # of the last one
        self._camera_time: Fraction | None = None  # of the last one; None where the next one's does not follow from it
        self._offset = Fraction(0)  # from the camera's time to ours
        self._pts = -1

    def restart(self) -> None:
        """The camera's clock starts anew with the next frame."""
        self._camera_time = None

    def pts(self, camera_time: Fraction | None, arrived: float) -> int:
        """The time of the next frame.

        Args:
            camera_time: as the camera says, in seconds; `None` where it does not.
            arrived: on our own clock, in seconds.
        """
        if self._started is None:
            self._started = self._arrived = arrived
        if camera_time is None:
            time = self._by_arrival(arrived)
        else:
            if self._is_off(camera_time, arrived):
                self._offset = self._by_arrival(arrived) - camera_time
            time = camera_time + self._offset
        self._camera_time, self._arrived = camera_time, arrived
        self._pts = max(round(time / TIME_BASE), self._pts + 1)
        return self._pts

    def _is_off(self, camera_time: Fraction, arrived: float) -> bool:
        if self._camera_time is None or camera_time < self._camera_time:
            return True
        assert self._started is not None
        return abs(camera_time + self._offset - Fraction(arrived - self._started)) > _TOLERANCE_S

    def _by_arrival(self, arrived: float) -> Fraction:
        """Since the first frame; where earlier ones were ahead of that, as long after the last as it came after it."""
        assert self._started is not None
        if self._pts < 0:
            return Fraction(0)
        return max(Fraction(arrived - self._started), self._pts * TIME_BASE + Fraction(arrived - self._arrived))
