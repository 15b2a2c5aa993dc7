"""Making the app's base: what goes in, always the same bytes; made only once; why it cannot be."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading

import pytest

from labsupport.build.bases import ARCHIVE, read_config
from labsupport.errors import LabError
from labsupport.making import base, building


def tar_of(path, *members):
    """Write a tar as mmdebstrap does: names begin with `./`; (name, kind, content or target)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(f"./{name}")
            member.mtime, member.uname, member.uid = 1_700_000_000, "somebody", 1003
            if kind == "file":
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                continue
            kinds = {"link": tarfile.SYMTYPE, "name": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE}
            member.type = kinds[kind]
            member.linkname = content if kind != "name" else f"./{content}"
            tar.addfile(member)
    return path


@pytest.fixture
def made(scratch, monkeypatch):
    """Stand in for the making of a Debian by one file, and count how often it is made."""
    made = []

    def make(rootfs, wheels, pip, mirror=""):
        made.append(mirror)
        tar_of(rootfs, ("etc", "dir", ""), ("etc/debian_version", "file", b"12\n"))

    monkeypatch.setattr(base, "require_mmdebstrap", lambda: None)
    monkeypatch.setattr(base, "make", make)
    monkeypatch.setattr(base, "_download", lambda folder, *_names: folder)
    return made


LEFT_OUT = (
    "usr/share/doc/apertium/README.gz", "usr/share/locale/es/LC_MESSAGES/tar.mo",
    "usr/lib/x86_64-linux-gnu/gconv/EUC-KR.so", "usr/bin/perl5.36.0", "var/lib/dpkg/status-old",
    "var/log/dpkg.log", "tmp/zip_pip.py", "etc/passwd-", "etc/resolv.conf",
)  # fmt: skip
KEPT = (
    "usr/share/doc/apertium/copyright", "usr/share/doc/apertium", "usr/lib/locale/C.utf8/LC_CTYPE",
    "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/bin/apertium", "tmp", "etc/passwd",
    "usr/share/apertium/modes/eng-spa.mode", "var/lib/dpkg/status",
)  # fmt: skip


def test_what_is_left_out():
    assert [name for name in (*LEFT_OUT, *KEPT) if base.is_left_out(name)] == [*LEFT_OUT]


def test_a_layer_is_the_same_whoever_made_it_and_when(tmp_path):
    rootfs = tar_of(
        tmp_path / "rootfs.tar",
        ("etc", "dir", ""),
        ("etc/hostname", "file", b"this machine"),
        ("etc/motd", "file", b"welcome"),
        ("etc/motd.link", "link", "motd"),
        ("etc/motd.name", "name", "etc/motd"),
        ("usr/share/man/first", "file", b"kept"),
        ("usr/games/second", "name", "usr/share/man/first"),
        (f"{base.WHEELS_FOLDER}/app.whl", "file", b"zip"),
    )
    diff_ids = {base.write_layer(rootfs, tmp_path / name) for name in ("one", "two")}
    with tarfile.open(tmp_path / "one") as layer:
        members = {member.name: member for member in layer}
        content = {name: layer.extractfile(name).read() for name in members if name != "etc"}

    assert len(diff_ids) == 1
    left_out = {"etc/hostname", "usr/share/man/first"}
    with tarfile.open(rootfs) as tar:
        expected = {name.removeprefix("./") for name in tar.getnames()} - left_out
    assert set(members) == expected | {"etc/pip.conf"}
    assert members[f"{base.WHEELS_FOLDER}/app.whl"].uid == 0  # it is what the maker copied in
    assert members["etc/motd"].uid == 1003
    assert {(member.mtime, member.uname) for member in members.values()} == {(0, "")}
    assert content["etc/motd.name"] == b"welcome"
    assert members["usr/games/second"].isreg()
    assert content["usr/games/second"] == b"kept"
    assert b"no-index = true" in content["etc/pip.conf"]


def test_it_is_made_once_kept_and_made_again_when_asked_for(made, tmp_path, capsys):
    first = base.build(tmp_path / "out").read_bytes()
    base.build(tmp_path / "out")
    assert len(made) == 1
    assert "already there" in capsys.readouterr().out

    base.build(tmp_path / "out", again=True)
    assert len(made) == 2
    assert (tmp_path / "out" / ARCHIVE).read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", ARCHIVE]


def test_one_of_an_older_recipe_is_replaced(made, tmp_path, monkeypatch):
    archive = base.build(tmp_path)
    old = read_config(archive)["config"]["Labels"]
    monkeypatch.setattr(base, "PACKAGES", ("python3", "apertium-eng-cat"))

    assert base.main(["--check", "--output", str(tmp_path)]) == 1
    base.build(tmp_path)
    assert base.main(["--check", "--output", str(tmp_path)]) == 0
    assert read_config(archive)["config"]["Labels"] != old


def test_two_at_once_make_one(made, tmp_path, capsys):
    with building.alone(tmp_path, "./lab base"):
        second = threading.Thread(target=base.main, args=[["--output", str(tmp_path)]])
        second.start()
        second.join(timeout=0.5)
        assert second.is_alive()
        assert made == []
        (tmp_path / ARCHIVE).write_bytes(_finished(tmp_path))
    second.join(timeout=60)

    assert made == []
    assert "another ./lab base is at work" in capsys.readouterr().out


def _finished(folder):
    """What another has made meanwhile."""
    rootfs = tar_of(folder / "rootfs.tar", ("etc", "dir", ""))
    diff_id = base.write_layer(rootfs, folder / "layer.tar")
    base.write_archive(folder / "layer.tar", diff_id, folder / "finished.tar")
    return (folder / "finished.tar").read_bytes()


def test_an_interrupted_one_leaves_nothing_half(made, tmp_path, monkeypatch, capsys):
    def interrupted(layer, diff_id, archive):
        archive.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(base, "write_archive", interrupted)

    assert base.main(["--output", str(tmp_path / "out")]) == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    assert "nothing is left behind" in capsys.readouterr().err


def test_what_a_killed_one_had_written_goes_with_the_next(tmp_path, scratch):
    program = (
        "import os, pathlib, sys; from labsupport.making import building\n"
        "with building.staged('base', pathlib.Path(sys.argv[1])) as new:\n"
        "    new.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    argv = [sys.executable, "-c", program, str(tmp_path / "out" / ARCHIVE)]
    (tmp_path / "out").mkdir()
    assert subprocess.run(argv, check=False).returncode == -9
    for left in (tmp_path / "out").iterdir():
        os.utime(left, (0, 0))  # one that is new may be somebody's who has no lock on it yet

    with building.scratch("base", tmp_path / "out", 0, ""):
        assert list((tmp_path / "out").iterdir()) == []


def test_too_little_space_is_said_before_anything_is_fetched(made, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "SPACE_BYTES", 1 << 60)

    with pytest.raises(LabError, match="no space to build a base"):
        base.build(tmp_path / "out")
    assert made == []


def test_without_a_tool_the_remedy_is_its_package(scratch, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LabError, match=r"apt-get install mmdebstrap"):
        base.build(tmp_path / "out")


@pytest.mark.skipif(
    not shutil.which("mmdebstrap"), reason="needs mmdebstrap (apt-get install mmdebstrap)"
)
def test_a_mirror_that_is_not_reached_is_named_with_what_to_do(scratch, tmp_path, monkeypatch):
    options = base._options
    at_once = '--aptopt=Acquire::Retries "0"'  # apt waits 7 s and tries again
    monkeypatch.setattr(base, "_options", lambda *of: [*options(*of), at_once])
    wheel = tmp_path / "pip-1-py3-none-any.whl"
    wheel.touch()
    with (
        building.scratch("base", tmp_path, 0, "") as folder,
        pytest.raises(LabError, match=r"Connection refused[\s\S]*What to do: .*--mirror"),
    ):
        base.make(folder / "rootfs.tar", tmp_path, wheel, "http://127.0.0.1:1/debian")
