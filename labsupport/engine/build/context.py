"""Pack a build's context: the files that a build may use, and all that is sent to the engine."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from docker.utils.build import PatternMatcher, exclude_paths

from labsupport.errors import ContextTooLarge, ContextUnreadable, DockerfileMissing

Files = Mapping[str, str | bytes]
_ODD_BYTES = "surrogateescape"  # what is no UTF-8 is sent as it was
MOST_BYTES = 512 << 20  # a folder that is larger was hardly meant to be sent


@dataclass(frozen=True)
class Context:
    """A packed context, ready to be sent: close it afterwards."""

    packed: IO[bytes]
    size: int


def read_dockerfile(context: str | Path | Files, name: str) -> str:
    """Read the Dockerfile of a context.

    Raises:
        DockerfileMissing: there is none of that name.

    """
    if isinstance(context, Mapping):
        if name not in context:
            raise DockerfileMissing(name, "the mapping", context)
        return _bytes(context[name]).decode(errors=_ODD_BYTES)
    folder = Path(context)
    if not folder.is_dir():
        raise DockerfileMissing(name, str(folder), (), "there is no such folder")
    if not (folder / name).is_file():
        raise DockerfileMissing(name, str(folder), (path.name for path in folder.iterdir()))
    return (folder / name).read_bytes().decode(errors=_ODD_BYTES)


def pack(context: str | Path | Files, name: str, dockerfile: str) -> Context:
    """Pack all but what `.dockerignore` names; the Dockerfile `name` gets another text.

    Raises:
        ContextTooLarge: there are more than 512 MiB.
        ContextUnreadable: a file may not be read.

    """
    packed = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed when it has been sent)
    try:
        if isinstance(context, Mapping):
            _pack_files(packed, {**context, name: dockerfile}, name)
        else:
            _pack_folder(packed, Path(context), name, dockerfile)
        size = packed.seek(0, io.SEEK_END)
        packed.seek(0)
    except BaseException:
        packed.close()
        raise
    return Context(packed, size)


def _pack_files(packed: IO[bytes], files: Files, dockerfile: str) -> None:
    text = _bytes(files.get(".dockerignore", "")).decode(errors=_ODD_BYTES)
    is_left_out: Callable[..., bool] = PatternMatcher([*_patterns(text), f"!{dockerfile}"]).matches
    contents = {name: _bytes(files[name]) for name in files if not is_left_out(name)}
    _check({name: len(content) for name, content in contents.items()})
    with _tar(packed) as tar:
        for name in sorted(contents, key=lambda name: name != dockerfile):
            _add(tar, name, contents[name])


def _pack_folder(packed: IO[bytes], folder: Path, name: str, dockerfile: str) -> None:
    ignore = folder / ".dockerignore"
    text = ignore.read_bytes().decode(errors=_ODD_BYTES) if ignore.is_file() else ""
    find: Callable[..., Iterable[str]] = exclude_paths
    files = sorted(find(str(folder), _patterns(text), name))
    sizes: Counter[str] = Counter()
    for file in files:
        with suppress(FileNotFoundError):  # it may vanish meanwhile
            sizes[file] = (folder / file).lstat().st_size
    _check(sizes)
    with _tar(packed) as tar:
        _add(tar, name, _bytes(dockerfile))
        for file in sizes:
            if file != name:
                _add_path(tar, folder / file, file)


def _tar(packed: IO[bytes]) -> tarfile.TarFile:
    """Begin an archive that BuildKit takes for one: it looks no further than the first header."""
    return tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o755 if content.startswith(b"#!") else 0o644
    tar.addfile(member, io.BytesIO(content))


def _add_path(tar: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        member = tar.gettarinfo(path, name)
        if not member:  # a socket
            return
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        if member.isreg():
            with path.open("rb") as file:
                tar.addfile(member, file)
        else:
            tar.addfile(member)
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise ContextUnreadable(name, str(error.strerror)) from error


def _bytes(content: str | bytes) -> bytes:
    return content.encode(errors=_ODD_BYTES) if isinstance(content, str) else content


def _patterns(ignore: str) -> list[str]:
    lines = (line.strip() for line in ignore.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _check(sizes: Mapping[str, int]) -> None:
    if (total := sum(sizes.values())) <= MOST_BYTES:
        return
    of_top: Counter[str] = Counter()
    for name, size in sizes.items():
        of_top[name.partition("/")[0]] += size
    raise ContextTooLarge(total, of_top.most_common(3))
