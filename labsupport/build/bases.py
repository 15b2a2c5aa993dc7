"""Images that are not built but put together, out of files that are at hand.

An image is a few tar archives and a JSON file. A builder takes five seconds for a base image in the
Lab VM, loading a finished archive one; it has the same digest wherever the same files are; and it
can say what we like: that its program is where none is.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import platformdirs

from labsupport.engine.listing import COURSE, IMAGE_OWNER, image_labels
from labsupport.errors import AppBaseMissing, LabError
from labsupport.sandbox.rootfs import static_busybox

if TYPE_CHECKING:
    from docker.models.images import Image

    from labsupport.engine.client import Engine

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CREATED = "1970-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
File = tuple[bytes, int]
"""Content and mode of a file; a mode with no content, `(b"", 0o700)`, is a file, too."""


# --- archives ------------------------------------------------------------------------------------


def archive(tag: str, layers: Sequence[bytes], made_by: Sequence[str], **config: Any) -> bytes:
    """Pack an image as `docker save` would: see the OCI image specification.

    `layers` are tar archives, the lowest first; `made_by` the instructions of its history, of which
    those beyond the last layer made no layer. `config` has the settings as images spell them.
    """
    settings = configuration(_diff_ids(layers), made_by, config)
    files = {f"layer{number}.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": list(files)}]
    files["config.json"] = json.dumps(settings).encode()
    files["manifest.json"] = json.dumps(manifest).encode()
    return pack({name: a_file(content) for name, content in files.items()})


def configuration(
    diff_ids: Sequence[str], made_by: Sequence[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an image's configuration, as the OCI image specification has it; see `archive`."""
    machine = os.uname().machine
    history = [
        {"created": CREATED, "created_by": words}
        | ({"empty_layer": True} if number >= len(diff_ids) else {})
        for number, words in enumerate(made_by)
    ]
    return {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": CREATED,
        "config": {"Env": [f"PATH={PATH}"], **config},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": history,
    }


def _diff_ids(layers: Sequence[bytes]) -> list[str]:
    return [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]


def pack(members: Mapping[str, tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Pack members by name; without times and owners, so the bytes are the same each time."""
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, (member, content) in sorted(members.items()):
                member.name = name
                tar.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def a_file(content: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """Return a file for `pack`."""
    member = tarfile.TarInfo()
    member.size, member.mode = len(content), mode
    return member, content


def _a_folder(mode: int) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo()
    member.type, member.mode = tarfile.DIRTYPE, mode
    return member, b""


def a_link(target: str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a symbolic link for `pack`."""
    member = tarfile.TarInfo()
    member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
    return member, b""


# --- the base image of the experiments: one static busybox, without a network --------------------

TAG = "labsupport/busybox:latest"
ADDED = "ADD rootfs.tar / # the course's busybox"
_FILES = {
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
}
_FOLDERS = {"etc": 0o755, "root": 0o700, "tmp": 0o1777, "usr/local/bin": 0o755, "var": 0o755}


def base_image(engine: Engine) -> Image:
    """Return the course's base image, made of this machine's busybox unless it is there.

    All notebooks share it, and it stays. Raises `MissingCapability`: there is no statically linked
    busybox; `LabError`: the engine does not take it.
    """
    from docker.errors import DockerException, ImageNotFound  # not here where the archive is made
    from requests.exceptions import RequestException

    images, layers = engine.client.images, [busybox_layer()]
    made_by = [ADDED, f"ENV PATH={PATH}", 'CMD ["sh"]']
    with suppress(ImageNotFound):
        image = images.get(TAG)
        if image.attrs["RootFS"]["Layers"] == _diff_ids(layers):
            return image
    try:
        images.load(archive(TAG, layers, made_by, Cmd=["sh"], Labels={IMAGE_OWNER: COURSE}))
        return images.get(TAG)
    except (DockerException, RequestException) as error:
        remedy = "`docker info` tells whether the engine is well; start it again"
        raise LabError(f"the image {TAG} could not be loaded", str(error), remedy) from error


def busybox_layer() -> bytes:
    """Pack busybox, a link for each of its programs, a few files; raises `LabError`."""
    busybox = static_busybox()
    argv = [str(busybox), "--list-full"]
    names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    parents = {str(parent) for name in names for parent in Path(name).parents} - {"."}
    members = {name: _a_folder(0o755) for name in parents}
    members |= {name: _a_folder(mode) for name, mode in _FOLDERS.items()}
    members |= {name: a_link(os.path.relpath("bin/busybox", Path(name).parent)) for name in names}
    members |= {name: a_file(text.encode()) for name, text in _FILES.items()}
    members["bin/busybox"] = a_file(busybox.read_bytes(), 0o755)
    return pack(members)


# --- images for exercises and errors -------------------------------------------------------------


def make_image(
    engine: Engine, tag: str, files: Mapping[str, File], *, on_busybox: bool = False, **config: Any
) -> Image:
    """Make an image of one layer (or put it on the course's base image), and load it.

    `config` has the settings as images spell them: `Entrypoint=["/app/run"], User="1000"`.
    """
    layers = [pack({name.lstrip("/"): a_file(*file) for name, file in files.items()})]
    made_by = [f"COPY {' '.join(files)} /"]
    if on_busybox:
        layers.insert(0, busybox_layer())
        made_by.insert(0, ADDED)
    config = {"Labels": image_labels(), **config}
    engine.client.images.load(archive(tag, layers, made_by, **config))
    return engine.client.images.get(tag)


Step = tuple[str, Mapping[str, str]]
"""An instruction, and the files of its layer: {path without a leading slash: text}."""


def copy(path: str, text: str) -> Step:
    """Bring a file, as `COPY` does."""
    return f"COPY {PurePosixPath(path).name} /{path}", {path: text}


def remove(*paths: str) -> Step:
    """Delete files of the layers below, as `RUN rm` does: by whiteouts, which are empty files."""
    marks = {
        str(PurePosixPath(path).with_name(f".wh.{PurePosixPath(path).name}")) for path in paths
    }
    return f"RUN rm {' '.join(f'/{path}' for path in paths)}", dict.fromkeys(marks, "")


def archive_of_steps(tag: str, steps: Iterable[Step]) -> bytes:
    """Pack an image: the course's busybox, and on it a layer for each step; raises `LabError`."""
    layers, made_by = [busybox_layer()], [ADDED]
    for instruction, files in steps:
        layers.append(pack({path: a_file(text.encode()) for path, text in files.items()}))
        made_by.append(instruction)
    return archive(tag, layers, made_by, Cmd=["sh"])


# --- the smallest program for an image, made without a compiler -----------------------------------
#
# The smallest of all asks the kernel for two things, `write` and `exit`, and needs nothing else: no
# library, no shell, no loader. So it shows what an image must hold (a program), and what comes from
# elsewhere (a kernel). elf(5), syscall(2).

_IN_MEMORY = 0x400000  # where the file is put
_HEADER, _PROGRAM_HEADER = 64, 56  # sizes of Elf64_Ehdr and Elf64_Phdr
_MACHINES = {"x86_64": 62, "aarch64": 183}  # elf.h: EM_X86_64, EM_AARCH64
_HEADER_32, _PROGRAM_HEADER_32, _386 = 52, 32, 3  # those of Elf32; EM_386


def hello_program(text: str, machine: str | None = None) -> bytes:
    """Return an executable file that writes `text` and ends.

    `machine` is `x86_64`, `aarch64` or `i686`, by default what this machine is.
    """
    machine = machine or os.uname().machine
    said = text.encode()
    if machine == "i686":
        return _of_32_bits(said)
    code = _code(machine, len(said))
    size = _HEADER + _PROGRAM_HEADER + len(code) + len(said)
    entry = _IN_MEMORY + _HEADER + _PROGRAM_HEADER
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bits, little-endian, version 1
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", identity, 2, _MACHINES[machine], 1, entry, _HEADER, 0, 0,
        _HEADER, _PROGRAM_HEADER, 1, 0, 0, 0,
    )  # fmt: skip
    load_readable_executable = struct.pack(
        "<IIQQQQQQ", 1, 5, 0, _IN_MEMORY, _IN_MEMORY, size, size, 0x1000
    )
    return header + load_readable_executable + code + said


def _of_32_bits(said: bytes) -> bytes:
    """Return an i386's program; its only header has the fields in another order."""
    start = _IN_MEMORY + _HEADER_32 + _PROGRAM_HEADER_32
    code = b"".join([
        b"\xb8\x04\x00\x00\x00",                # mov eax, 4       write
        b"\xbb\x01\x00\x00\x00",                # mov ebx, 1       standard output
        b"\xb9" + struct.pack("<I", start + 31),  # mov ecx, the text
        b"\xba" + struct.pack("<I", len(said)),   # mov edx, length
        b"\xcd\x80",                             # int 0x80
        b"\xb8\x01\x00\x00\x00",                # mov eax, 1       exit
        b"\x31\xdb",                             # xor ebx, ebx
        b"\xcd\x80",                             # int 0x80
    ])  # fmt: skip
    size = start - _IN_MEMORY + len(code) + len(said)
    identity = b"\x7fELF\x01\x01\x01" + bytes(9)  # 32 bits, little-endian, version 1
    header = struct.pack(
        "<16sHHIIIIIHHHHHH", identity, 2, _386, 1, start, _HEADER_32, 0, 0,
        _HEADER_32, _PROGRAM_HEADER_32, 1, 0, 0, 0,
    )  # fmt: skip
    load_readable_executable = struct.pack(
        "<IIIIIIII", 1, 0, _IN_MEMORY, _IN_MEMORY, size, size, 5, 0x1000
    )
    return header + load_readable_executable + code + said


def _code(machine: str, length: int) -> bytes:
    """Return the instructions; the text follows them."""
    if machine == "aarch64":
        return struct.pack(
            "<8I",
            0xD2800020,                  # mov  x0, #1         standard output
            0x100000E1,                  # adr  x1, the text   seven instructions on
            0xD2800002 | length << 5,    # mov  x2, #length
            0xD2800808,                  # mov  x8, #64        write
            0xD4000001,                  # svc  #0
            0xD2800000,                  # mov  x0, #0
            0xD2800BA8,                  # mov  x8, #93        exit
            0xD4000001,                  # svc  #0
        )  # fmt: skip
    at = _IN_MEMORY + _HEADER + _PROGRAM_HEADER + 31
    return b"".join([
        b"\xb8\x01\x00\x00\x00",               # mov eax, 1       write
        b"\xbf\x01\x00\x00\x00",               # mov edi, 1       standard output
        b"\xbe" + struct.pack("<I", at),       # mov esi, the text
        b"\xba" + struct.pack("<I", length),   # mov edx, length
        b"\x0f\x05",                           # syscall
        b"\xb8\x3c\x00\x00\x00",               # mov eax, 60      exit
        b"\x31\xff",                           # xor edi, edi
        b"\x0f\x05",                           # syscall
    ])  # fmt: skip


# --- the base image of the tutorials' app, where none is pulled ----------------------------------
#
# `./lab base` makes its archive once, outside of any engine (see `labsupport.making.base`).

APP_BASE_TAG = "labsupport/python-apertium:bookworm"
APP_WHEELS = {
    "tabulate": "0.10.0",
    # Pipenv, which the lecture's image is built with, and what it needs
    "pipenv": "2026.10.3", "virtualenv": "21.15.11", "setuptools": "84.2.1", "packaging": "26.4",
    "platformdirs": "4.14.8", "filelock": "4.3.1", "distlib": "0.4.4",
    "python-discovery": "1.9.6", "certifi": "2026.10.19.post1",
}  # fmt: skip
"""The wheels in it, by name and version, which its pip and Pipenv install without a network."""
ARCHIVE = "python-apertium-bookworm.tar"
SYSTEM_BASES = Path("/usr/local/lib/labsupport/bases")
LONGEST_SECONDS = 600
RECIPE = "org.labsupport.recipe"


def user_bases() -> Path:
    """Where this user's bases are kept: `LAB_BASES`, else a folder of their cache.

    In the Lab VM it is the folder of the user who has started it.
    """
    chosen = os.environ.get("LAB_BASES")
    return Path(chosen or Path(platformdirs.user_cache_dir("labsupport")) / "bases")


def find_archive() -> Path | None:
    """Return the archive of the base: this user's, else the machine's, else None."""
    archives = (folder / ARCHIVE for folder in (user_bases(), SYSTEM_BASES))
    return next((archive for archive in archives if archive.is_file()), None)


def read_config(archive: Path) -> dict[str, Any]:
    """Read an archive's image configuration; raises `AppBaseMissing` if it has none."""
    try:
        with tarfile.open(archive) as tar:
            content = tar.extractfile("config.json")
            config: dict[str, Any] = json.load(content) if content else {}
            return config
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise AppBaseMissing(f"{archive} is not an archive of it: {error}") from error


def app_base(engine: Engine) -> Image:
    """Return the image `labsupport/python-apertium:bookworm`, loaded unless it is there already.

    That takes a few seconds, about twelve in the Lab VM. Raises `AppBaseMissing` if the engine does
    not have the image and `./lab base` has not made its archive.
    """
    from docker.errors import ImageNotFound  # not here where the archive is made

    archive = find_archive()
    try:
        image = engine.client.images.get(APP_BASE_TAG)
    except ImageNotFound:
        if archive is None:
            why = f"there is no {ARCHIVE} in {user_bases()} or {SYSTEM_BASES}"
            raise AppBaseMissing(why) from None
    else:
        layers = image.attrs["RootFS"]["Layers"]
        if archive is None or layers == read_config(archive)["rootfs"]["diff_ids"]:
            return image
    api = engine.client.api
    before, api.timeout = api.timeout, LONGEST_SECONDS  # it unpacks all, then answers
    try:
        with archive.open("rb") as file:
            engine.client.images.load(file)
    finally:
        api.timeout = before
    return engine.client.images.get(APP_BASE_TAG)
