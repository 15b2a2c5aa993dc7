"""What is wrong with an image is said in one clear error, soon, and without a file outside."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import re
import resource
import signal
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from labsupport import Image
from labsupport.errors import BadLayer, LabError
from labsupport.image import blobs
from labsupport.image.blobs import Limits
from tests.image_making import (
    digest,
    docker,
    docker_25,
    folder,
    hardlink,
    kaniko,
    member,
    oci,
    pack,
    symlink,
    tar,
)

DIGEST, CUT_OFF, TWICE = "does not match its digest", "is cut off", "more than one"
LEADS_OUT = "leads out of the image|deletes no name"
TOO_MANY, BOMB = "too much to read: (files|layers|items)", "become when they are decompressed"
GIANT, TOO_LONG = "too much to read: the bytes of '", "too much to read: the bytes of [^']"
LAYER = tar([folder("etc"), member("etc/passwd", b"root\n" * 30)])
MiB = 2**20


@pytest.fixture
def refused(tmp_path):
    """Open what was packed, and return the error; nothing else may be in its folder then."""

    def refused(error, files, **options):
        path = tmp_path / "it.tar"
        path.write_bytes(files if isinstance(files, bytes) else pack(files))
        kind, words = (LabError, error) if isinstance(error, str) else (error, None)
        with pytest.raises(kind, match=words) as caught:
            Image.open(path, **options)
        assert os.listdir(tmp_path) == ["it.tar"]
        assert "What to do" in str(caught.value) or caught.value.why
        return str(caught.value)

    return refused


def test_what_is_no_archive(refused, tmp_path):
    refused(LabError, b"")
    refused(LabError, b"no archive " * 1000)
    refused(LabError, gzip.compress(b"no archive " * 1000))
    refused(LabError, bytes(10240))
    refused(LabError, {"some": b"file"})
    assert "docker export" in refused(LabError, tar([member("etc/passwd", b"")]))
    with pytest.raises(LabError, match="No such file"):
        Image.open(tmp_path / "nothing.tar")
    with pytest.raises(LabError, match=r"it is a folder\n.*tar -C"):
        Image.open(tmp_path)


def test_a_device_or_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(LabError, match="not an ordinary file"):
            Image.open(path)


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "layer0.tar"])
def test_a_part_that_is_missing(name, refused):
    files = docker([LAYER])
    del files[name]

    assert name in refused(LabError, files)


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"{}", b"[]", b"[3]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b"9" * 5000,
     b'[{"Config": 3}]', b'[{"Config": "config.json", "Layers": {"a": 1}}]', b'[{"Layers": []}]',
     b'[{"Config": "config.json", "Layers": ["layer0.tar", "layer0.tar"]}]',
     b'[{"Config": "config.json", "Layers": [["layer0.tar"]]}]'],
    ids=lambda said: said[:30].decode(errors="replace") or "empty",
)  # fmt: skip
def test_a_manifest_of_another_form(said, refused):
    refused(LabError, {**docker([LAYER]), "manifest.json": said})


@pytest.mark.parametrize(
    "said",
    [{"rootfs": None}, {"rootfs": []}, {"rootfs": {"diff_ids": []}}, {"history": [3]},
     {"rootfs": {"diff_ids": ["md5:1"]}}, {"rootfs": {"diff_ids": [None]}}, {"architecture": 7},
     {"rootfs": {"diff_ids": ["sha256:" + "0" * 64] * 2}}],
    ids=json.dumps,
)  # fmt: skip
def test_a_configuration_of_another_form(said, refused):
    refused(LabError, docker([LAYER], **said))


@pytest.mark.parametrize("said", [b"{}", b"[]", b'{"manifests": [{"digest": "md5:1"}]}', b"{"])
def test_an_oci_layout_of_another_form(said, refused):
    refused(LabError, {**oci([LAYER]), "index.json": said})


def test_each_part_of_an_oci_layout_is_missed_and_compared(refused):
    files = oci([LAYER])
    for name in files.keys() - {"index.json"}:
        assert "index.json" not in refused(DIGEST, {**files, name: files[name] + b" "})
        rest = {other: files[other] for other in files if other != name}
        assert name in refused("is not whole", rest)


def test_a_layer_is_compared_with_both_of_its_digests(refused):
    """Packed again after a change, so that what is stored has the digest it goes by."""
    files = docker_25([LAYER], lambda layer: gzip.compress(layer.replace(b"root", b"toor")))
    assert digest(LAYER) in refused(DIGEST, files)
    files = docker_25([LAYER], lambda layer: gzip.compress(layer, mtime=0))
    name = next(name for name, blob in files.items() if blob.startswith(b"\x1f\x8b"))
    files[name] = files[name].replace(bytes(4), b"\1\0\0\0", 1)  # the time when it was packed
    assert name.rpartition("/")[2] in refused(DIGEST, files)
    files = docker([LAYER])
    files["layer0.tar"] = files["layer0.tar"].replace(b"root", b"toor")
    assert digest(LAYER) in refused(DIGEST, files)
    files = kaniko([LAYER])
    said = next(name for name in files if name.startswith("sha256:"))
    assert said in refused(DIGEST, {**files, said: files[said] + b" "})


def broken(layer, begin, end):
    """A layer's compression with something else in it."""
    return layer[:begin] + b"\xff" * 40 + layer[end:]


LAYERS = {
    **{name: (LEADS_OUT, [member(name)])
       for name in ("../out", "etc/../../out", "/../out", "..", "etc/.wh...", ".wh..", ".wh.")},
    **{f"to {target}": (LEADS_OUT, [hardlink("etc/shadow", target)])
       for target in ("../../etc/shadow", "/etc/../../shadow")},
    "in the root's place": ("root is not a folder", [member("a/..")]),
    "NUL": ("NUL", [member("it", pax_headers={"path": "etc/pass\0wd"})]),
    "a long name": ("a path of", [member("x" * 5000)]),
    "a long target": ("a link to", [symlink("x", "y/" * 5000)]),
    # an engine follows links of the layer itself when it writes what is behind them
    "a circle": ("circle", [symlink("a", "b"), symlink("b", "a"), member("a/x")]),
    "behind a file": ("not a folder", [member("f"), symlink("a", "f"), member("a/x")]),
    "in a file": ("not a folder", [member("a", b"1"), member("a/b", b"2")]),
    "deep in a file": ("not a folder", [member("a", b"1"), member("a/b/c", b"2")]),
    # `tarfile` alone would consider it the end
    "no header": ("no header at", tar([member("a", b"1")])[:1024] + b"junk" * 128 + LAYER),
    "broken gzip": ("compression", broken(gzip.compress(LAYER), 40, 80)),
    "broken zstd": ("compression", broken(zstandard.compress(LAYER), 20, 60)),
    "broken bzip2": ("compression", b"BZh91AY&SY" + bytes(100)),
    "broken xz": ("compression", b"\xfd7zXZ\0\0\4" + bytes(100)),
    "encrypted": ("invalid header", b"encrypted" * 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_refused(name, refused):
    words, layer = LAYERS[name]
    layer = layer if isinstance(layer, bytes) else tar(layer)
    assert re.search(words, refused(BadLayer, docker_25([layer])))


def test_a_symbolic_link_never_leads_out(opened):
    """A link in an image may say anything: what it leads to is looked up in the image alone."""
    image = opened([
        [symlink("out", "../../../../../etc/passwd"), symlink("a", "b"), symlink("b", "a"),
         hardlink("one", "two"), hardlink("two", "one"), hardlink("nothing", "missing")],
    ])  # fmt: skip
    with pytest.raises(LabError, match="there is no file 'out'"):
        image.read("out")
    with pytest.raises(LabError, match="circle"):
        image.read("a")
    for name in ("one", "nothing"):
        with pytest.raises(LabError, match="a hard link to nothing"):
            image.read(name)


def test_a_link_out_of_the_archive(refused):
    files = docker([LAYER])
    del files["layer0.tar"]
    members = [member(name, content) for name, content in files.items()]
    for target in ("../etc/passwd", "a/../../x"):
        refused(LEADS_OUT, tar([*members, symlink("layer0.tar", target)]))
    refused(LEADS_OUT, tar([*members, hardlink("layer0.tar", "../x")]))
    refused("leads out", tar([*members, member("../layer0.tar", LAYER)]))
    for target in ("/etc/passwd", "layer0.tar"):
        refused("there is no file 'layer0.tar'", tar([*members, symlink("layer0.tar", target)]))


def test_two_files_of_one_name(refused):
    members = [member(name, content) for name, content in docker([LAYER]).items()]
    refused(TWICE, tar([*members, members[0]]))
    refused(TWICE, tar([*members, symlink("./manifest.json", "config.json")]))


@pytest.mark.parametrize(
    "compress", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress, bytes]
)
def test_a_layer_that_ends_too_soon(compress, refused):
    big = tar([member("noise", random.Random(1).randbytes(300_000))])
    for size in (4, 700, 100_000):
        files = docker_25([big], lambda layer, size=size: compress(layer)[:-size])
        error = refused(expected(compress, size), files)
        assert "layer 1" in error


def expected(compress, size):
    """Zeros at the end of a plain archive belong to no file, so only the digest misses them."""
    return DIGEST if compress is bytes and size < 10_000 else CUT_OFF


# ------------------------------------------------------------------ bombs


def stored(layer):
    """An image whose only layer is stored in that way; it is refused before its digest is known."""
    return docker([layer], rootfs={"diff_ids": ["sha256:" + "0" * 64]})


def header(form=tarfile.GNU_FORMAT, **fields):
    info, _ = member("it", **fields)
    return info.tobuf(form)


def squeezed(*parts, times=1):
    with io.BytesIO() as packed:
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
            for _ in range(times):
                file.writelines(parts)
        return packed.getvalue()


def xz(content):
    return lzma.compress(content, preset=0)  # the others take 64 MiB and more to undo


@contextmanager
def at_most(mebibytes):
    """Fail if this process needs that much more memory meanwhile: its address space is limited."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * MiB, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bz2.compress, xz])
def test_a_decompression_bomb(compress, refused):
    layer = (compress(header(size=40 * MiB)) + compress(bytes(MiB)) * 40) * 2
    with at_most(64):
        refused(BOMB, stored(layer), limits=Limits(unpacked_bytes=50 * MiB))
        refused(GIANT, stored(layer), limits=Limits(unpacked_bytes=30 * MiB))


def test_what_swells_beyond_what_is_usual(refused, opened, monkeypatch):
    """Up to a size that does no harm, anything may be full of zeros."""
    monkeypatch.setattr(blobs, "_ALWAYS_ALLOWED", 5 * MiB)
    small, large = (tar([member("zeros", bytes(size * MiB))]) for size in (4, 20))
    assert opened(docker_25([small], gzip.compress)).size_bytes == 4 * MiB
    error = refused(BOMB, docker_25([large], gzip.compress), limits=Limits(expansion=50))
    assert "5,242,880 are the most" in error


def test_a_compression_in_a_million_pieces(refused, monkeypatch):
    monkeypatch.setattr(blobs, "_MOST_STREAMS", 1000)
    assert "compressed streams" in refused(LabError, stored(gzip.compress(b"") * 1001))


def zeros(layers):
    return docker_25([tar([member("zeros", bytes(MiB))])] * layers, gzip.compress)


def sparse_and_giant():
    raw = bytearray(header(type=tarfile.GNUTYPE_SPARSE))
    raw[483:495] = tarfile.itn(2**62, 12, tarfile.GNU_FORMAT)
    return with_true_sums(raw) + bytes(1024)


def pax(times=1, **said):
    return header(tarfile.PAX_FORMAT, pax_headers=said) * times


def globals_():
    each = (tarfile.TarInfo.create_pax_global_header({f"k{at}": "v"}) for at in range(100))
    return b"".join(one + header() for one in each)


PAX_GIANT = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**62), "GNU.sparse.numblocks": "1"}
LONG_NAME = header(type=tarfile.GNUTYPE_LONGNAME, size=4) + b"abc\0" + bytes(508)
BOMBS = {
    "as a whole": (BOMB, lambda: squeezed(header(size=2**36), bytes(MiB), times=40),
                   {"unpacked_bytes": 20 * MiB}),
    "layers together": (BOMB, lambda: zeros(10), {"unpacked_bytes": 9 * MiB}),
    "files in all layers": (TOO_MANY, lambda: zeros(10), {"entries": 9}),
    "many layers": (TOO_MANY, lambda: zeros(10), {"layers": 9}),
    "many files": (TOO_MANY, lambda: stored(squeezed(header(), times=6000)), {"entries": 5000}),
    "names": (TOO_LONG, lambda: docker([tar([member("x/" * 1900)] * 200)]),
              {"names_bytes": MiB // 2}),
    "a sparse giant": (GIANT, lambda: stored(sparse_and_giant()), {}),
    "a sparse giant, PAX": (GIANT, lambda: stored(pax(**PAX_GIANT) + bytes(1024)), {}),
    "one header": (TOO_LONG, lambda: stored(header(type=tarfile.XHDTYPE, size=2**40) + bytes(MiB)),
                   {}),
    "one name": (TOO_LONG, lambda: stored(header(type=tarfile.GNUTYPE_LONGNAME, size=2**40)
                                          + bytes(MiB)), {}),
    "one value": (TOO_LONG, lambda: stored(pax(k="v" * 2 * MiB)), {}),
    "many headers": (TOO_LONG, lambda: stored(pax(40, **{f"k{at}": "v" for at in range(4000)})),
                     {}),
    "headers of headers": ("without end", lambda: stored(LONG_NAME * 2000), {}),
    "a number": ("endless number", lambda: stored(pax(k="1" * 900_000)), {}),
    "global headers": ("is damaged", lambda: stored(globals_()), {}),
    "a long manifest": (TOO_LONG, lambda: {**docker([LAYER]), "manifest.json": b" " * 5 * MiB}, {}),
    "a configuration": (TOO_LONG, lambda: {**docker([LAYER]), "config.json": b" " * 5 * MiB}, {}),
    "a list": (TOO_MANY, lambda: {**docker([LAYER]), "manifest.json": b"[%s0]" % (b"[]," * 99_999)},
               {}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name, refused, monkeypatch):
    monkeypatch.setattr(blobs, "_FORGIVEN", MiB)
    words, make, limits = BOMBS[name]
    with at_most(64):
        refused(words, make(), limits=Limits(**limits))


def test_a_file_is_returned_up_to_a_size_alone(opened):
    layers = [[member("big", bytes(MiB)), member("small", b"1")]]
    image = opened(layers, limits=Limits(file_bytes=MiB - 1))
    assert image.read("small") == b"1"
    with pytest.raises(LabError, match="1,048,576, and 1,048,575"):
        image.read("big")


def test_honest_headers_are_never_too_many(opened, monkeypatch):
    monkeypatch.setattr(blobs, "_FORGIVEN", MiB)
    said = {"SCHILY.xattr.security.capability": "x" * 200}
    assert len(opened([[member(str(at), pax_headers=said) for at in range(2500)]]).tree()) == 2500


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE])
@pytest.mark.parametrize("size", [-512, -1536, -(2**40)])
def test_a_negative_size(size, kind, refused):
    """It would lead back to what was read before, again and again."""
    raw = bytearray(header(type=kind))
    raw[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
    raw[483:495] = tarfile.itn(0, 12, tarfile.GNU_FORMAT)  # what a sparse file is in the end
    refused(BadLayer, stored(with_true_sums(raw) * 3))


# ------------------------------------------------------------------ damage

NEXT = tar([member(".wh.big"), member("etc/.wh.passwd"), member("b/c/d", b"2")])
FIRST = tar(
    [
        *[folder("etc"), member("etc/passwd", b"root\n" * 30), member("big", b"x" * 3000)],
        *[symlink("l", "big"), hardlink("h", "big"), member("long" * 60, b"1", uid=2**40)],
    ]
)
SOUND = {
    "docker": pack(docker([FIRST, NEXT])),
    "docker 25": pack(docker_25([FIRST, NEXT])),
    "kaniko": pack(kaniko([FIRST, NEXT])),
    "gzip": pack(docker_25([FIRST, NEXT], gzip.compress)),
    "zstd": pack(docker_25([FIRST, NEXT], zstandard.compress)),
}


def damaged(sound, chance):
    """Flip bits, lose bytes, add some, copy some over others."""
    data = bytearray(sound)
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        at, other = chance.randrange(len(data)), chance.randrange(len(data))
        size = chance.choice([1, 8, 512])
        match chance.randrange(6):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = chance.randbytes(size)
            case 4:
                data[at : at + size] = chance.choice([b"\0", b"\xff", b"7"]) * size
            case 5:
                data[at : at + 512] = data[other : other + 512]
    return bytes(data) or b"\0"


def with_true_sums(archive):
    """Make the sums of a tar archive's headers right, so that what was damaged is read."""
    data = bytearray(archive)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


def case(number):
    """Damage an archive, one with true sums, or a layer in an image that is sound otherwise."""
    chance = random.Random(number)
    sound = SOUND[chance.choice(list(SOUND))]
    if number % 3 == 0:
        return damaged(sound, chance)
    if number % 3 == 1:
        return with_true_sums(damaged(sound, chance))
    layers = [with_true_sums(damaged(layer, chance)) for layer in (FIRST, NEXT)]
    return pack(chance.choice([docker, docker_25])(layers))


def use(image):
    """Ask for all that there is, as a notebook would."""
    assert image.size_bytes >= 0
    assert 0 <= image.efficiency <= 1
    assert repr(image)
    assert image.wasted_bytes >= 0
    for lost in image.lost_files():
        lost.read()
    for path in image.tree():
        try:
            image.read(path)
        except LabError:
            continue  # a folder, or a link to one


_watching: list[list[str]] = []


def _watch(event, arguments):
    """An audit hook, which cannot be taken off again: note what would change a file system.

    What is opened under the name of the folder for temporary files has no name in it.
    """
    changes = event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.chmod")
    if event == "open" and arguments[0] != tempfile.gettempdir():
        changes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if changes:
        for noted in _watching:
            noted.append(f"{event} {arguments}")


@contextmanager
def nothing_written():
    _watching.append(noted := [])
    yield
    _watching.clear()
    assert not noted


@contextmanager
def soon():
    """Turn a hang into a failure."""

    def too_late(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


KINDS = (DIGEST, CUT_OFF, "is not JSON", "is not an image", "is not whole", "too much to read")


def open_it(path):
    """Open a file, and tell the outcome."""
    with nothing_written(), soon():
        try:
            with Image.open(path) as image:
                use(image)
        except LabError as error:
            found = (kind for kind in KINDS if kind in error.what)
            return next(found, type(error).__name__) if error.why else "without a reason"
    return "opened"


@pytest.mark.parametrize(
    "numbers",
    [range(2000), pytest.param(range(2000, 10_000), marks=pytest.mark.thorough)],
    ids=["some", "more"],
)
def test_thousands_of_damaged_archives(tmp_path, numbers):
    sys.addaudithook(_watch)
    path = tmp_path / "it.tar"
    became = set()
    for number in numbers:
        path.write_bytes(case(number))
        became.add(open_it(path))

    assert os.listdir(tmp_path) == ["it.tar"]
    assert {"opened", "BadLayer", *KINDS} <= became
    assert "without a reason" not in became


@pytest.mark.parametrize("name", SOUND)
def test_an_archive_cut_off_anywhere(name, tmp_path):
    sound = SOUND[name]
    path = tmp_path / "it.tar"
    path.write_bytes(sound)
    assert open_it(path) == "opened"
    end = len(sound.rstrip(b"\0"))
    for size in range(0, end, 37):
        os.truncate(path, 0)
        path.write_bytes(sound[:size])
        assert open_it(path) in (CUT_OFF, "is not an image")
