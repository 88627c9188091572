"""A command whose videos or results are elsewhere: what stands for them here, until each job fetches and sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import OutputError, SourceError
from ..run.settings import Remote, SegmentSettings
from .remote import fetch, find_remote, is_remote, send
from .summary import SUMMARY_NAME
from .video_files import VIDEO_SUFFIXES, VideoFile, find_sources


class Depot:
    """The names of one command's files; from `open_depot`."""

    def __init__(self, here: Path, output: str | None) -> None:
        self._url = output.rstrip("/") if output and is_remote(output) else ""
        self._here = here
        self._base = here / "results"
        self._urls: dict[Path, str] = {}  # by what stands for them
        self.output = f"{self._base}/" if self._url else output

    def find(self, words: Sequence[str]) -> list[VideoFile]:
        """As `find_sources`; the words may be URLs of files, of folders, and patterns of them."""
        here = [word for word in words if not is_remote(word)]
        found = find_sources(here) if here else []
        for word in filter(is_remote, words):
            for url, folder, named in find_remote(word, VIDEO_SUFFIXES):
                path = self._here / "sources" / str(len(self._urls)) / url.rpartition("/")[2]
                self._urls[path] = url
                found.append(VideoFile(path, folder, named))
        return found

    def attached(self, jobs: Sequence[SegmentSettings]) -> list[SegmentSettings]:
        """The jobs, told where their files really are. Masks are sent as one file each, not as thousands."""
        result = []
        for job in jobs:
            if self._url and job.masks and not job.masks.suffix:
                job = replace(job, masks=job.masks.with_name(f"{job.masks.name}.zip"))
            remote = Remote(self._urls.get(job.file, "") if job.file else "", self._url, self._base)
            result.append(replace(job, remote=remote) if remote.source or remote.folder else job)
        return result

    @contextmanager
    def summary(self) -> Iterator[None]:
        """Within, what an earlier call into a folder elsewhere noted is here; it is sent back afterwards."""
        if not self._url:
            yield
            return
        path, url = self._base / SUMMARY_NAME, f"{self._url}/{SUMMARY_NAME}"
        self._base.mkdir(parents=True)
        with suppress(SourceError):
            fetch(url, path)
        try:
            yield
        finally:
            if path.exists():
                send(path, url)


@contextmanager
def open_depot(words: Sequence[str], output: str | None, others: Sequence[Path | None]) -> Iterator[Depot | None]:
    """A depot where one is needed.

    Args:
        words: of the command line that name videos.
        output: that `-o` names.
        others: outputs that are named by themselves.

    Raises:
        OutputError: a single file is named elsewhere.
    """
    for path in others:
        if path is not None and is_remote(str(path).replace(":/", "://", 1)):
            raise OutputError(f"{path}: results go elsewhere as a folder: -o s3://bucket/results/")
    far = output if output and is_remote(output) else ""
    if far and not far.endswith("/"):
        raise OutputError(f"{far}: results go elsewhere as a folder; write {far}/")
    if not far and not any(map(is_remote, words)):
        yield None
        return
    with TemporaryDirectory(prefix="roadmask-") as name:
        yield Depot(Path(name), output)
