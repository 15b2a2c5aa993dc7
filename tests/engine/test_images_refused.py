"""What is wrong with an image is said in one clear error, soon, and without a file outside."""

import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from labsupport import Image
from labsupport.engine.image import limits, streams
from labsupport.engine.image.limits import Limits
from labsupport.errors import (
    BadLayer,
    BadManifest,
    DigestMismatch,
    DuplicateMember,
    GiantFile,
    ImageTruncated,
    LabError,
    LinkLeadsOut,
    NoSuchFile,
    NotAnImage,
    PathLeadsOut,
    TooManyBytes,
    TooManyFiles,
    TooMuchMetadata,
)
from tests.image_making import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    blob_name,
    digest,
    docker,
    docker_25,
    folder,
    hardlink,
    index,
    kaniko,
    lay_out,
    layout,
    member,
    oci,
    pack,
    put,
    symlink,
    tar,
)

LAYER = tar([folder("etc"), member("etc/passwd", b"root\n" * 30)])
MiB = 2**20


@pytest.fixture
def refused(tmp_path):
    """Open what was packed, and return the error; nothing else may be in its folder then."""

    def refused(error, files, **options):
        path = tmp_path / "it.tar"
        path.write_bytes(files if isinstance(files, bytes) else pack(files))
        with pytest.raises(error) as caught:
            Image.open(path, **options)
        assert os.listdir(tmp_path) == ["it.tar"]
        assert type(caught.value) is error
        assert "What to do" in str(caught.value) or caught.value.why
        return str(caught.value)

    refused.folder = tmp_path
    return refused


def test_what_is_no_archive(refused, tmp_path):
    refused(NotAnImage, b"")
    refused(NotAnImage, b"no archive " * 1000)
    refused(NotAnImage, gzip.compress(b"no archive " * 1000))
    refused(NotAnImage, bytes(10240))
    refused(NotAnImage, {"some": b"file"})
    assert "docker export" in refused(NotAnImage, tar([member("etc/passwd", b"")]))
    with pytest.raises(NotAnImage, match="No such file"):
        Image.open(tmp_path / "nothing.tar")
    with pytest.raises(NotAnImage, match=r"neither a manifest\.json nor an index\.json"):
        Image.open(tmp_path)


def test_a_device_or_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(NotAnImage, match="neither a file nor a folder"):
            Image.open(path)


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "layer0.tar"])
def test_a_part_that_is_missing(name, refused):
    files = docker([LAYER])
    del files[name]

    error = NotAnImage if name == "manifest.json" else BadManifest
    assert name in refused(error, files)


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"{}", b"[]", b"[3]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b"9" * 5000,
     b'[{"Config": 3}]', b'[{"Config": "config.json", "Layers": {"a": 1}}]', b'[{"Layers": []}]',
     b'[{"Config": "config.json", "Layers": ["layer0.tar", "layer0.tar"]}]',
     b'[{"Config": "config.json", "Layers": [["layer0.tar"]]}]'],
    ids=lambda said: said[:30].decode(errors="replace") or "empty",
)  # fmt: skip
def test_a_manifest_of_another_form(said, refused):
    refused(BadManifest, {**docker([LAYER]), "manifest.json": said})


@pytest.mark.parametrize(
    "said",
    [{"rootfs": None}, {"rootfs": []}, {"rootfs": {"diff_ids": []}}, {"history": [3]},
     {"rootfs": {"diff_ids": ["md5:1"]}}, {"rootfs": {"diff_ids": [None]}}, {"architecture": 7},
     {"rootfs": {"diff_ids": ["sha256:" + "0" * 64] * 2}}],
    ids=json.dumps,
)  # fmt: skip
def test_a_configuration_of_another_form(said, refused):
    refused(BadManifest, docker([LAYER], **said))


def test_a_descriptor_that_lies(refused):
    files = oci([LAYER])
    (found,) = json.loads(files["index.json"])["manifests"]
    for lie in ({"size": 1}, {"digest": "sha256:../../etc/passwd"}, {"digest": None}):
        refused(BadManifest, {**files, "index.json": index([{**found, **lie}])})
    nowhere = {**found, "digest": digest(b"?")}
    assert "none" in refused(BadManifest, {**files, "index.json": index([nowhere])})


def test_indexes_without_end(refused):
    """One that contains itself cannot be made; but one may list another a thousand times."""
    blobs = {}
    last = put(blobs, index([]), INDEX_TYPE)
    for _ in range(5):
        last = put(blobs, index([last] * 900), INDEX_TYPE)
    refused(TooManyFiles, layout(blobs, [last]))
    refused(TooManyFiles, layout({}, [last] * 1001))
    refused(BadManifest, layout({}, [last] * 1000))


def test_an_artifact_that_is_no_image(refused):
    blobs = {}
    chart = put(blobs, b'{"name": "chart"}', "application/vnd.cncf.helm.config.v1+json")
    content = put(blobs, gzip.compress(b"chart"), "application/vnd.cncf.helm.chart.v1.tar+gzip")
    said = json.dumps({"config": chart, "layers": [content]}).encode()
    refused(BadManifest, layout(blobs, [put(blobs, said, MANIFEST_TYPE)]))


@pytest.mark.parametrize("at", ["layer", "config", "manifest"])
def test_a_changed_byte_is_noticed(at, refused):
    files = oci([LAYER])
    (found,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[blob_name(found["digest"])])
    named = {
        "layer": manifest["layers"][0]["digest"],
        "config": manifest["config"]["digest"],
        "manifest": found["digest"],
    }[at]
    changed = files[blob_name(named)].replace(b"root", b"toor", 1)
    if at == "manifest":
        changed = changed.replace(b"schemaVersion", b"schemaversion")
    assert named in refused(DigestMismatch, {**files, blob_name(named): changed})


def test_a_layer_is_compared_with_both_of_its_digests(refused):
    """Packed anew after a change, so that what is stored has the digest it goes by."""
    files = oci([LAYER], lambda layer: gzip.compress(layer.replace(b"root", b"toor")), "+gzip")
    assert digest(LAYER) in refused(DigestMismatch, files)
    files = oci([LAYER], lambda layer: gzip.compress(layer, mtime=0), "+gzip")
    name = next(name for name, blob in files.items() if blob.startswith(b"\x1f\x8b"))
    files[name] = files[name].replace(bytes(4), b"\1\0\0\0", 1)  # the time when it was packed
    assert name.rpartition("/")[2] in refused(DigestMismatch, files)
    files = docker([LAYER])
    files["layer0.tar"] = files["layer0.tar"].replace(b"root", b"toor")
    assert digest(LAYER) in refused(DigestMismatch, files)
    files = kaniko([LAYER])
    said = next(name for name in files if name.startswith("sha256:"))
    assert said in refused(DigestMismatch, {**files, said: files[said] + b" "})


@pytest.mark.parametrize(
    "name", ["../out", "etc/../../out", "/../out", "a/..", "..", "etc/.wh...", ".wh..", ".wh."]
)
def test_a_name_that_leads_out(name, refused):
    refused(PathLeadsOut, docker([tar([member(name)])]))


def test_a_name_that_no_file_can_have(refused):
    odd = member("it", pax_headers={"path": "etc/pass\0wd"})
    assert "NUL" in refused(BadLayer, docker([tar([odd])]))


@pytest.mark.parametrize("target", ["../../etc/shadow", "/etc/../../shadow"])
def test_a_hard_link_that_leads_out(target, refused):
    refused(LinkLeadsOut, docker([tar([hardlink("etc/shadow", target)])]))


def test_a_symbolic_link_never_leads_out(tmp_path):
    """In an image it may say anything: what it leads to is looked up in the image alone."""
    layer = tar(
        [symlink("out", "../../../../../etc/passwd"), symlink("a", "b"), symlink("b", "a"),
         hardlink("one", "two"), hardlink("two", "one"), hardlink("nothing", "missing")]
    )  # fmt: skip
    (tmp_path / "it.tar").write_bytes(pack(docker([layer])))

    image = Image.open(tmp_path / "it.tar")
    with pytest.raises(NoSuchFile):
        image.read("out")
    with pytest.raises(NoSuchFile, match="circle"):
        image.read("a")
    for name in ("one", "nothing"):
        with pytest.raises(NoSuchFile, match="a hard link to nothing"):
            image.read(name)


def test_a_link_out_of_the_archive(refused):
    files = docker([LAYER])
    del files["layer0.tar"]
    members = [member(name, content) for name, content in files.items()]
    for target in ("/etc/passwd", "../etc/passwd", "a/../../x"):
        refused(LinkLeadsOut, tar([*members, symlink("layer0.tar", target)]))
    refused(LinkLeadsOut, tar([*members, hardlink("layer0.tar", "../x")]))
    refused(BadManifest, tar([*members, symlink("layer0.tar", "layer0.tar")]))
    refused(PathLeadsOut, tar([*members, member("../layer0.tar", LAYER)]))


def test_a_link_out_of_a_folder(tmp_path):
    where = lay_out(oci([LAYER]), tmp_path / "folder")
    blob = where / blob_name(digest(LAYER))
    blob.rename(tmp_path / "outside")
    blob.symlink_to(tmp_path / "outside")

    with pytest.raises(LinkLeadsOut, match="outside"):
        Image.open(where)


def test_a_blob_that_is_a_pipe(tmp_path):
    where = lay_out(oci([LAYER]), tmp_path / "folder")
    blob = where / blob_name(digest(LAYER))
    blob.unlink()
    os.mkfifo(blob)

    with pytest.raises(BadManifest, match="not saved"):
        Image.open(where)


def test_a_folder_whose_names_cannot_be(tmp_path):
    files = docker([LAYER])
    where = lay_out(files, tmp_path / "folder")
    for name in ("x" * 300, "circle", "x/" * 3000):
        (where / "circle").unlink(missing_ok=True)
        (where / "circle").symlink_to("circle")
        manifest = files["manifest.json"].replace(b"layer0.tar", name.encode())
        (where / "manifest.json").write_bytes(manifest)
        with pytest.raises((NotAnImage, BadManifest, BadLayer)):
            Image.open(where)


def test_two_files_of_one_name(refused):
    members = [member(name, content) for name, content in docker([LAYER]).items()]
    refused(DuplicateMember, tar([*members, members[0]]))
    refused(DuplicateMember, tar([*members, symlink("./manifest.json", "config.json")]))


def test_a_header_that_is_none(refused):
    """`tarfile` alone would take it for the end."""
    layer = tar([member("a", b"1")])[:1024] + b"junk" * 128 + tar([member("b", b"2")])
    assert "no header at" in refused(BadLayer, docker([layer]))


def test_a_file_in_a_file(refused):
    refused(BadLayer, docker([tar([member("a", b"1"), member("a/b", b"2")])]))
    refused(BadLayer, docker([tar([member("a/b/c", b"2"), member("a", b"1")])]))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bytes])
def test_a_layer_that_ends_too_soon(compress, refused):
    big = tar([member("noise", random.Random(1).randbytes(300_000))])
    for size in (4, 700, 100_000):
        files = oci([big], lambda layer, size=size: compress(layer)[:-size])
        error = refused(expected(compress, size), files)
        assert "layer 1" in error


def expected(compress, size):
    """Zeros at the end of a plain archive are no file's, so they are missed by the digest alone."""
    return DigestMismatch if compress is bytes and size < 10_000 else ImageTruncated


def test_compressions_that_are_broken_or_unknown(refused):
    broken = gzip.compress(LAYER)[:40] + b"\xff" * 40 + gzip.compress(LAYER)[80:]
    assert "compression" in refused(BadLayer, oci([LAYER], lambda _: broken))
    broken = zstandard.compress(LAYER)[:20] + b"\xff" * 400
    assert "compression" in refused(BadLayer, oci([LAYER], lambda _: broken))
    assert "unusual" in refused(BadLayer, oci([LAYER], lambda _: b"BZh91AY&SY" + bytes(100)))
    refused(BadLayer, oci([LAYER], lambda _: b"encrypted" * 1000))


# ------------------------------------------------------------------ bombs


def stored(layer):
    """An image whose only layer is stored like that; it is refused before its digest is known."""
    config = {"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}
    manifest = [{"Config": "config", "Layers": ["layer"]}]
    return {
        "config": json.dumps(config).encode(),
        "layer": layer,
        "manifest.json": json.dumps(manifest).encode(),
    }


def header(form=tarfile.GNU_FORMAT, **fields):
    info, _ = member("it", **fields)
    return info.tobuf(form)


def squeezed(*parts, times=1):
    with io.BytesIO() as packed:
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
            for _ in range(times):
                file.writelines(parts)
        return packed.getvalue()


@contextmanager
def at_most(mebibytes):
    """Fail if this process needs so much more memory meanwhile: its address space is limited."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * MiB, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_decompression_bomb(kind, refused):
    zeros = bytes(MiB)
    begin = header(size=40 * MiB)
    if kind == "gzip":
        layer = squeezed(begin, *[zeros] * 40, times=2)
    else:
        layer = (zstandard.compress(begin) + zstandard.compress(zeros) * 40) * 2
    with at_most(64):
        refused(TooManyBytes, stored(layer), limits=Limits(unpacked_bytes=50 * MiB))
        refused(GiantFile, stored(layer), limits=Limits(unpacked_bytes=30 * MiB))


def test_what_swells_beyond_what_is_usual(refused, monkeypatch):
    """Up to a size that does no harm, anything may be full of zeros."""
    monkeypatch.setattr(limits, "_ALWAYS_ALLOWED", 5 * MiB)
    small, large = (tar([member("zeros", bytes(size * MiB))]) for size in (4, 20))
    lay_out(oci([small], gzip.compress), refused.folder / "small")
    assert Image.open(refused.folder / "small").size_bytes == 4 * MiB
    shutil.rmtree(refused.folder / "small")
    error = refused(TooManyBytes, oci([large], gzip.compress), limits=Limits(expansion=50))
    assert "at most 5,242,880" in error


def test_a_compression_in_a_million_pieces(refused, monkeypatch):
    monkeypatch.setattr(streams, "_MOST_GZIP_MEMBERS", 1000)
    assert "too many pieces" in refused(BadLayer, stored(gzip.compress(b"") * 1001))


def test_an_archive_that_is_a_bomb_as_a_whole(refused):
    with at_most(64):
        whole = squeezed(header(size=2**36), bytes(MiB), times=40)
        refused(TooManyBytes, whole, limits=Limits(unpacked_bytes=20 * MiB))


def test_the_layers_are_counted_together(refused):
    layer = tar([member("zeros", bytes(MiB))])
    files = oci([layer] * 10, gzip.compress, "+gzip")
    refused(TooManyBytes, files, limits=Limits(unpacked_bytes=9 * MiB))
    refused(TooManyFiles, files, limits=Limits(entries=9))
    refused(TooManyFiles, files, limits=Limits(layers=9))


def test_a_million_files(refused):
    with at_most(64):
        layer = squeezed(header(), times=100_000)
        refused(TooManyFiles, stored(layer), limits=Limits(entries=50_000))


def test_names_and_folders_without_end(refused):
    deep = [member(f"{at}/" + "x/" * 1900) for at in range(200)]
    with at_most(64):
        refused(TooMuchMetadata, docker([tar(deep)]), limits=Limits(names_bytes=10 * MiB))
        refused(BadLayer, docker([tar([member("x" * 5000)])]))
        refused(BadLayer, docker([tar([symlink("x", "y/" * 5000)])]))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_sparse_giant(form, refused):
    fields = {"type": tarfile.GNUTYPE_SPARSE} if form == tarfile.GNU_FORMAT else {}
    if fields:
        raw = bytearray(header(**fields))
        raw[483:495] = tarfile.itn(2**62, 12, tarfile.GNU_FORMAT)
        raw[148:156] = b" " * 8
        raw[148:156] = b"%06o\0 " % sum(raw[:512])
    else:
        said = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**62), "GNU.sparse.numblocks": "1"}
        raw = header(form, pax_headers=said)
    with at_most(64):
        refused(GiantFile, stored(bytes(raw) + bytes(1024)))


def test_a_file_is_returned_up_to_a_size_alone(tmp_path):
    files = docker([tar([member("big", bytes(MiB)), member("small", b"1")])])
    (tmp_path / "it.tar").write_bytes(pack(files))

    image = Image.open(tmp_path / "it.tar", limits=Limits(file_bytes=MiB - 1))
    assert image.read("small") == b"1"
    with pytest.raises(GiantFile, match="1,048,576 bytes, and 1,048,575"):
        image.read("big")


@pytest.mark.parametrize(
    "layer",
    [
        header(type=tarfile.XHDTYPE, size=2**40) + bytes(MiB),
        header(type=tarfile.GNUTYPE_LONGNAME, size=2**40) + bytes(MiB),
        header(tarfile.PAX_FORMAT, pax_headers={"k": "v" * 2 * MiB}),
        header(tarfile.PAX_FORMAT, pax_headers={f"k{at}": "v" for at in range(4000)}) * 600,
    ],
    ids=["pax", "long name", "one long value", "many"],
)
def test_headers_without_end(layer, refused):
    with at_most(64):
        refused(TooMuchMetadata, stored(layer))


def test_headers_that_explain_one_another(refused):
    chain = (header(type=tarfile.GNUTYPE_LONGNAME, size=4) + b"abc\0" + bytes(508)) * 2000
    assert "without end" in refused(BadLayer, stored(chain))
    digits = header(tarfile.PAX_FORMAT, pax_headers={"k": "1" * 900_000})
    assert "endless number" in refused(BadLayer, stored(digits))
    globals_ = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"k{at}": "v"}) + header() for at in range(100)
    )
    refused(BadLayer, stored(globals_))


def test_honest_headers_are_never_too_many(tmp_path):
    said = {"SCHILY.xattr.security.capability": "x" * 200}
    members = [member(str(at), pax_headers=said) for at in range(40_000)]
    (tmp_path / "it.tar").write_bytes(pack(docker([tar(members)])))

    assert len(Image.open(tmp_path / "it.tar").tree()) == 40_000


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE])
@pytest.mark.parametrize("size", [-512, -1536, -(2**40)])
def test_a_negative_size(size, kind, refused):
    """It would lead back to what was read before, again and again."""
    raw = bytearray(header(type=kind))
    raw[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
    raw[483:495] = tarfile.itn(0, 12, tarfile.GNU_FORMAT)  # what a sparse file is in the end
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    refused(BadLayer, stored(bytes(raw) * 3))


def test_json_without_end(refused):
    with at_most(192):
        for name in ("manifest.json", "config.json"):
            refused(TooMuchMetadata, {**docker([LAYER]), name: b" " * 5 * MiB})
        refused(TooManyFiles, {**docker([LAYER]), "manifest.json": b"[" + b"[]," * MiB + b"0]"})


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
    "oci": pack(oci([FIRST, NEXT], gzip.compress, "+gzip")),
    "zstd": pack(oci([FIRST, NEXT], zstandard.compress, "+zstd")),
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
    return pack(chance.choice([docker, docker_25, oci])(layers))


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
        except NoSuchFile:
            continue  # a folder, or a link to one


_watched: list[str] = []
_watching = False


def _watch(event, arguments):
    """An audit hook, which cannot be taken off again: note what would change a file system.

    What is opened under the name of the folder for temporary files has no name in it.
    """
    if _watching and (
        (
            event == "open"
            and arguments[0] != tempfile.gettempdir()
            and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        or event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.chmod")
    ):
        _watched.append(f"{event} {arguments}")


@contextmanager
def nothing_written():
    global _watching  # noqa: PLW0603
    _watched.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert not _watched


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


def open_it(path):
    """Open a file, and say what became of it."""
    with nothing_written(), soon():
        try:
            with Image.open(path) as image:
                use(image)
        except LabError as error:
            return type(error).__name__ if error.why else "an error without a reason"
    return "opened"


def test_ten_thousand_damaged_archives(tmp_path):
    sys.addaudithook(_watch)
    path = tmp_path / "it.tar"
    became = []
    for number in range(10_000):
        path.write_bytes(case(number))
        became.append(open_it(path))

    assert os.listdir(tmp_path) == ["it.tar"]
    assert {
        "opened",
        "BadLayer",
        "BadManifest",
        "DigestMismatch",
        "ImageTruncated",
        "NotAnImage",
    } <= {*became}


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
        assert open_it(path) in ("ImageTruncated", "NotAnImage")


def test_random_bytes_with_a_likely_beginning(tmp_path):
    for number in range(300):
        chance = random.Random(number)
        begin = chance.choice([b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"])
        (tmp_path / "it.tar").write_bytes(begin + chance.randbytes(10_000))
        assert open_it(tmp_path / "it.tar") in ("NotAnImage", "ImageTruncated", "BadLayer")
