"""Mount tables, propagation and roots: what the kernel says of them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from labsupport import Sandbox, mounts
from labsupport.errors import LabError, NotMounted
from labsupport.kernel.mounts import MountTable, parse
from labsupport.mount.mounting import mount, try_escape, unmount
from labsupport.sandbox.rootfs import small_root

FIELDS = "36 35 98:0 /a\\040b /mnt\\011x\\134 rw,noatime {tags}- ext3 /dev/ro\\012ot rw,errors=c"


@pytest.fixture(scope="module")
def root():
    with small_root(["srv/one", "srv/two"]) as folder:
        yield folder


@pytest.fixture
def box(root):
    with Sandbox(rootfs=root) as box:
        _ = box.pid
        yield box


def test_a_line_is_taken_apart_and_its_escapes_undone():
    found = parse(FIELDS.format(tags="shared:7 master:3 propagate_from:2 "))
    assert (found.id, found.parent_id, found.device) == (36, 35, "98:0")
    assert (found.root, found.point, found.source) == ("/a b", "/mnt\tx\\", "/dev/ro\not")
    assert (found.shared, found.master) == (7, 3)
    assert (found.fstype, found.super_options) == ("ext3", ("rw", "errors=c"))
    assert found.propagation == "shared slave"
    assert not found.read_only
    assert parse(FIELDS.format(tags="").replace(" rw,errors", " ro,errors")).read_only


@pytest.mark.parametrize(
    ("tags", "propagation"),
    [
        ("", "private"),
        ("shared:1 ", "shared"),
        ("master:1 ", "slave"),
        ("unbindable ", "unbindable"),
        ("colour:blue shared:1 ", "shared"),  # of a later kernel; proc_pid_mountinfo(5)
    ],
)
def test_the_optional_fields_say_how_mounts_spread(tags, propagation):
    assert parse(FIELDS.format(tags=tags)).propagation == propagation


@pytest.mark.skipif(not shutil.which("findmnt"), reason="needs findmnt of util-linux")
def test_it_agrees_with_findmnt():
    argv = ["findmnt", "--noheadings", "--output", "MAJ:MIN,TARGET,PROPAGATION", "--raw"]
    listing = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    theirs = sorted(tuple(line.split(" ")[:3]) for line in listing.splitlines())
    ours = sorted(
        (m.device, m.point, m.propagation.replace("shared slave", "shared,slave")) for m in mounts()
    )
    assert ours == theirs


def test_what_lies_on_top_is_what_is_seen():
    def line(number, parent, device, point):
        return parse(f"{number} {parent} {device} / {point} rw - tmpfs x rw")

    table = MountTable(1, (
        line(1, 0, "0:1", "/"), line(2, 1, "0:2", "/srv"), line(3, 2, "0:3", "/srv/deep"),
        line(4, 2, "0:4", "/srv"),
    ))  # fmt: skip
    assert {point: each.device for point, each in table.visible().items()} == {
        "/": "0:1", "/srv": "0:4",
    }  # fmt: skip
    assert table.holding("/srv/deep/er").device == "0:4"
    assert table.at("/srv/").device == "0:4"


def test_what_is_not_a_mount_point_says_what_the_path_lies_on(box):
    with pytest.raises(NotMounted, match=r"at /etc: .*mounted at /\n.*mounts"):
        mounts(of=box).at("/etc")


def test_a_small_root_has_its_programs_wherever_the_path_leads(root):
    with Sandbox(rootfs=root) as box:
        for path in ("/bin", "/sbin", "/usr/bin", "/usr/sbin"):
            assert box.run(["ls", "/srv"], env={"PATH": path}).stdout.split() == ["one", "two"]


def test_nothing_spreads_from_a_sandbox_to_us(box):
    before = Path("/proc/self/mountinfo").read_text()
    mount(box, ["-t", "tmpfs", "inside", "/srv/one"])
    assert mounts(of=box).at("/srv/one").source == "inside"
    assert Path("/proc/self/mountinfo").read_text() == before
    assert {m.propagation for m in mounts(of=box)} == {"private"}


def test_who_keeps_a_mount_busy_is_named(box):
    mount(box, ["-t", "tmpfs", "used", "/srv/one"])
    worker = box.start(["sh", "-c", "cd /srv/one; exec 9> open; echo ready; exec sleep 77"])
    worker.expect("ready")
    with pytest.raises(LabError) as caught:
        unmount(box, "/srv/one")
    who = f"sleep 77 (PID {worker.pids[-1]} inside)"
    assert f"{who} has its working folder and an open file there" in str(caught.value)
    worker.signal(9)
    worker.wait()
    unmount(box, "/srv/one")
    assert "/srv/one" not in mounts(of=box).visible()


def test_a_mount_on_a_mount_keeps_it_busy(box):
    mount(box, ["-t", "tmpfs", "below", "/srv"])
    box.run(["mkdir", "/srv/deep"])
    mount(box, ["-t", "tmpfs", "upper", "/srv/deep"])
    with pytest.raises(LabError, match="tmpfs upper is mounted at /srv/deep"):
        unmount(box, "/srv")


@pytest.mark.parametrize(
    "arguments", [["-t", "nosuchfs", "x", "/srv/one"], ["--bind", "/nowhere", "/srv/one"]]
)
def test_a_mount_that_fails_has_the_words_of_mount(box, arguments):
    with pytest.raises(LabError, match=r"/srv/one: not mounted: mount: .+\n"):
        mount(box, arguments)
    assert "/srv/one" not in mounts(of=box).visible()


def test_root_of_a_user_namespace_may_mount_no_disk(root):
    with (
        Sandbox(new={"user", "pid", "mount"}, rootfs=root) as box,
        pytest.raises(LabError, match=r"user namespace.*Lab VM"),
    ):
        mount(box, ["-t", "ext4", "/dev/null", "/srv/one"])


def test_an_attempt_that_cannot_start_says_why(root):
    with pytest.raises(LabError, match="chroot did not"):
        try_escape("chroot", root / "nowhere", "/x")
