"""The overlay as a video stream of a container: what files, standard output and published streams have in common."""

from __future__ import annotations

from fractions import Fraction

from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from ..frames import Frame, VideoInfo
from .h264 import H264Encoder

USUAL_RATE = Fraction(25)  # for the encoder's rate control only, where the source has none
_KEYFRAME_S = 2  # between keyframes: what a player has to decode to jump, and waits for to join


def add_video(container: OutputContainer, encoder: H264Encoder, picture: VideoFrame, info: VideoInfo) -> VideoStream:
    """A stream for pictures like this one, with the times, the colours and the pixel shape of the source.

    Args:
        container: that gets the stream.
        encoder: from `choose_encoder`.
        picture: as drawn; its size and colours are the stream's.
        info: of the source.
    """
    rate = info.rate or USUAL_RATE
    stream = container.add_stream(
        encoder.name, rate=rate, options=encoder.options, width=picture.width, height=picture.height
    )
    assert isinstance(stream, VideoStream)
    stream.pix_fmt = "yuv420p"
    # `rate` alone would make the encoder round every time to a multiple of 1/rate.
    stream.time_base = info.time_base
    context = stream.codec_context
    encoder.set_up(context)
    context.time_base = info.time_base
    context.gop_size = max(round(rate * _KEYFRAME_S), 1)
    context.sample_aspect_ratio = info.sample_aspect_ratio
    context.color_range, context.colorspace = picture.color_range, picture.colorspace
    context.color_primaries, context.color_trc = picture.color_primaries, picture.color_trc
    return stream


def stamp(picture: VideoFrame, frame: Frame, *, shift: int = 0, key: bool = False) -> None:
    """Make a drawn picture ready for the encoder: its time is the frame's, `shift` earlier; `key` makes it a keyframe.

    What is left from the source's encoder would be an order to ours.
    """
    picture.pts = frame.pts - shift
    picture.time_base = frame.time_base
    picture.pict_type = PictureType.I if key else PictureType.NONE
