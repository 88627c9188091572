"""Files that are elsewhere, by fsspec URL (`s3://bucket/drive.mp4`): fetched before a run, and sent when whole.

Each run works in a temporary folder of the machine that it is on, so no two machines need see the same disk. For a
whole command a `Depot` stands for them here, until each job fetches and sends.
"""

from __future__ import annotations

import glob
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, mkdtemp
from threading import Lock
from typing import Any

import av
from av.container import InputContainer

from ..decode.opening import ANY_TAGS, open_file
from ..decode.picture import is_picture
from ..encode.picture_sink import says_made_here
from ..errors import OutputError, RoadmaskError, SourceError, first_line
from ..run.settings import Remote, Report, SegmentSettings
from ..system.talk import install_command
from .footage import Kind, footage_among, says_so, told
from .summary import SUMMARY_NAME
from .video_files import VideoFile, find_sources

log = logging.getLogger(__name__)

# What is stored whole or not at all; elsewhere a file gets its name when it is whole.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss"})
# Not http and ftp: those are streams, and cameras.
_SCHEMES = _OBJECT_STORES | {"hdfs", "webhdfs", "sftp", "ssh", "smb", "dbfs", "file", "memory"}


def is_remote(word: str) -> bool:
    """Whether a word of the command line is such a URL."""
    scheme, mark, _ = word.partition("://")
    return bool(mark) and scheme.lower() in _SCHEMES


def run_remote(job: SegmentSettings, run: Callable[[SegmentSettings], Report]) -> Report:
    """Run a job whose file or results are elsewhere. What was interrupted is not sent.

    Raises:
        RoadmaskError: as `run`; or something cannot be fetched or sent.
    """
    remote = job.remote
    assert remote is not None
    assert job.file is not None
    with ExitStack() as stack:
        here = Path(stack.enter_context(TemporaryDirectory(prefix="roadmask-")))
        local = replace(job, remote=None)
        if remote.source:
            local = replace(local, source=stack.enter_context(_fetched(remote.source, job.file.name)))
            stack.enter_context(_called(remote.source, str(local.source)))
        if not remote.folder:
            return run(local)
        overlay, masks, stats = (
            path and here / "results" / path.relative_to(remote.base) for path in (job.overlay, job.masks, job.stats)
        )
        local = replace(local, overlay=overlay, masks=masks, stats=stats, resume=False, held=False)
        report = run(local)
        if not report.interrupted:
            for path, output in zip(local.outputs, job.outputs, strict=True):
                send(path, remote.url_of(output))
    return report


class _Copy:
    """Of a file that is elsewhere, for all jobs that read it at one time: several streams of it are one download."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.users = 0
        self.folder = ExitStack()
        self.path: Path | None = None


_copies: dict[str, _Copy] = {}
_copies_lock = Lock()


@contextmanager
def _fetched(url: str, name: str) -> Iterator[Path]:
    with _copies_lock:
        copy = _copies.setdefault(url, _Copy())
        copy.users += 1
    try:
        with copy.lock:
            if copy.path is None:
                path = Path(copy.folder.enter_context(TemporaryDirectory(prefix="roadmask-"))) / name
                fetch(url, path)
                copy.path = path
        yield copy.path
    finally:
        with _copies_lock:
            copy.users -= 1
            if not copy.users:
                del _copies[url]
                copy.folder.close()


@contextmanager
def _called(url: str, path: str) -> Iterator[None]:
    """What fails is told with the name that the user gave the file."""
    try:
        yield
    except RoadmaskError as exc:
        if path not in str(exc):
            raise
        raise type(exc)(str(exc).replace(path, url), usage=exc.usage) from exc


def is_done(job: SegmentSettings) -> bool:
    """Whether all its results are where they are to be sent."""
    assert job.remote is not None
    urls = [job.remote.url_of(path) for path in job.outputs] if job.remote.folder else []
    return bool(urls) and all(map(_exists, urls))


def find_remote(url: str, kind: Kind = "auto") -> list[tuple[str, Path, bool]]:
    """URL, folder below the one that was named, and whether it was named itself, of each video that a URL means.

    Raises:
        SourceError: there is none, or the store cannot be asked.
    """
    passed: Counter[str] = Counter()
    with _asked(url, SourceError):
        system, path = _system(url)
        if glob.has_magic(path):
            found, top = system.glob(path), _fixed_part(path)
        elif system.isdir(path):
            found, top = system.find(path), path
        else:
            return [(url, Path(), True)]
        paths = sorted(footage_among(map(PurePosixPath, found), passed, partial(_is_result, system), kind))
    if not paths:
        raise SourceError(
            f"{url}: no videos there{f', {told(passed)}' if passed else ''}; name a file, or another folder"
        )
    if passed:
        log.info("%s: %s", url, told(passed))
    top = top.rstrip("/")
    return [(system.unstrip_protocol(str(item)), Path(item.relative_to(top).parent), False) for item in paths]


def _is_result(system: Any, path: PurePosixPath) -> bool:
    """As of a file that is here; to ask costs time, so only what is called as `-o DIR/` calls overlays is looked at."""
    if not path.stem.endswith(("_overlay", "_mask")):
        return False
    with suppress(av.FFmpegError, OSError), system.open(str(path), "rb") as file:
        if is_picture(path):
            return says_made_here(file)
        with _opened(file) as container:
            return says_so(container)
    return False


def _opened(file: Any) -> InputContainer:
    options = {"codec_whitelist": "none", "protocol_whitelist": ""}
    container: InputContainer = av.open(file, options=options, **ANY_TAGS)
    return container


def fetch(url: str, path: Path) -> None:
    """Raises `SourceError`."""
    with _asked(url, SourceError):
        system, place = _system(url)
        system.get_file(place, str(path))


def send(path: Path, url: str) -> None:
    """A file. Raises `OutputError`."""
    with _asked(url, OutputError):
        system, place = _system(url)
        system.makedirs(place.rpartition("/")[0], exist_ok=True)
        if url.partition("://")[0].lower() in _OBJECT_STORES:
            system.put_file(str(path), place)
        else:
            system.put_file(str(path), f"{place}.partial")
            system.mv(f"{place}.partial", place)


def _exists(url: str) -> bool:
    """Not by `exists` of fsspec, to which whatever cannot be asked for is not there."""
    with _asked(url, OutputError):
        system, place = _system(url)
        try:
            system.info(place)
        except FileNotFoundError:
            return False
        return True


def _fixed_part(pattern: str) -> str:
    """The folders of a pattern before the first that is one."""
    parts = pattern.split("/")
    return "/".join(parts[: next(n for n, part in enumerate(parts) if glob.has_magic(part))])


def _system(url: str) -> tuple[Any, str]:
    """What serves it, and the path there."""
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    return system, str(path)


@contextmanager
def _asked(url: str, error: type[RoadmaskError]) -> Iterator[None]:
    """Whatever a store's library raises becomes an error of one line."""
    try:
        yield
    except RoadmaskError:
        raise
    except FileNotFoundError as exc:
        raise error(f"{url}: no such file") from exc
    except ImportError as exc:
        what = f"fsspec: {install_command('remote')}" if exc.name == "fsspec" else f"more: {first_line(exc)}"
        raise error(f"{url}: such URLs need {what}") from exc
    except Exception as exc:  # each store's library has errors of its own
        raise error(f"{url}: {first_line(exc)}") from exc


class Depot:
    """The names of one command's files; from `open_depot`."""

    def __init__(self, here: Path, output: str | None) -> None:
        self._url = output.rstrip("/") if output and is_remote(output) else ""
        if self._url.endswith(":"):
            raise OutputError(f"{output}: names no folder; write such as {output}bucket/results/", usage=True)
        self._here = here
        self._base = here / "results"
        self._urls: dict[Path, str] = {}  # by what stands for them
        self.output = f"{self._base}/" if self._url else output

    def find(self, words: Sequence[str], kind: Kind = "auto") -> list[VideoFile]:
        """As `find_sources`; the words may be URLs of files, of folders, and patterns of them.

        Numbered pictures elsewhere are pictures.
        """
        here = [word for word in words if not is_remote(word)]
        found = find_sources(here, kind=kind) if here else []
        for word in filter(is_remote, words):
            for url, folder, named in find_remote(word, kind):
                path = self._here / "sources" / str(len(self._urls)) / url.rpartition("/")[2]
                self._urls[path] = url
                found.append(VideoFile(path, folder, named, picture=kind != "video" and is_picture(path)))
        return found

    @contextmanager
    def opened(self, path: Path) -> Iterator[InputContainer]:
        """One of the files that were found, to see what it holds. Raises `SourceError`."""
        url = self._urls.get(path)
        if url is None:
            with open_file(path) as container:
                yield container
            return
        with _asked(url, SourceError):
            system, place = _system(url)
            with system.open(place, "rb") as file, _opened(file) as container:
                yield container

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
    def notes(self) -> Iterator[None]:
        """Within, what an earlier call into a folder elsewhere noted is here; afterwards all that is of no one file,
        summary, table and list of classes, is sent.
        """
        if not self._url:
            yield
            return
        path, url = self._base / SUMMARY_NAME, f"{self._url}/{SUMMARY_NAME}"
        self._base.mkdir(parents=True)
        if _exists(url):  # else what earlier calls noted would be replaced by what this one does
            fetch(url, path)
        try:
            yield
        finally:
            for path in sorted(self._base.iterdir()):
                if path.is_file() and not path.name.startswith("."):
                    _send_or_keep(path, f"{self._url}/{path.name}")


def _send_or_keep(path: Path, url: str) -> None:
    """Where it cannot be sent, what hours of work have noted is not lost with the temporary folder."""
    try:
        send(path, url)
    except OutputError as exc:
        kept = Path(mkdtemp(prefix="roadmask-")) / path.name
        shutil.copy(path, kept)
        raise OutputError(f"{exc}; it is kept as {kept}") from exc


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
