"""What dead owners leave is found by its mark; nothing else is."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from labsupport import Sandbox
from labsupport.ownership import bridges, marks
from tests.waiting import owner, sleeper, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def dead_mark():
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = marks.mark(owner.pid)
    owner.communicate(b"\n")
    return mark


def test_a_mark_lives_as_long_as_its_process(dead_mark):
    assert marks.is_alive(marks.mark())
    assert not marks.is_alive(dead_mark)
    home = marks.mark().rpartition(":")[2]
    assert not marks.is_alive(f"{os.getpid()}:1:{home}")
    assert marks.is_alive(f"{os.getpid()}:1:00000000")  # from elsewhere: nothing is known of it
    assert marks.is_alive("nonsense")


def test_only_marked_processes_of_dead_owners_are_removed(dead_mark, capsys):
    with (
        sleeper(LABSUPPORT_OWNER=dead_mark) as left,
        sleeper(LABSUPPORT_OWNER=marks.mark()) as owned,
        sleeper(LABSUPPORT_OWNER="") as unmarked,
    ):
        assert marks.main(["--dry-run"]) == 0
        assert f"would remove: process {left.pid} (sleep)" in capsys.readouterr().out
        assert left.poll() is None
        assert marks.main([]) == 0
        assert f"removed: process {left.pid}" in capsys.readouterr().out
        assert left.wait(60) == -9
        assert owned.poll() is unmarked.poll() is None


def test_programs_in_sandboxes_carry_the_mark():
    with Sandbox() as box:
        environment = box.run(["env"]).stdout.splitlines()
    assert f"LABSUPPORT_OWNER={marks.mark()}" in environment


def test_folders_of_dead_owners_are_removed(dead_mark, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name = f"labsupport-web-{dead_mark.replace(':', '-')}-abc"
    left = tmp_path / name
    owned = tmp_path / f"{marks.prefix('web')}abc"
    foreign = tmp_path / "labsupport-notes"
    hosts = tmp_path / f"{name[:-12]}00000000-abc"  # seen in a VM
    for folder in (left, owned, foreign, hosts):
        folder.mkdir()
        (folder / "file").write_text("x")
    assert marks.main([]) == 0
    assert not left.exists()
    assert owned.exists()
    assert foreign.exists()
    assert hosts.exists()


@needs_root
@pytest.mark.parametrize("kinds", [["--pid", "--mount-proc"], ["--time", "--boottime=86400"]])
def test_a_living_owner_is_not_taken_for_a_dead_one_from_another_namespace(kinds, tmp_path):
    """There, its number means somebody else or nobody, and its start time is another."""
    lives = tmp_path / f"{marks.prefix('web')}abc"
    lives.mkdir()
    code = "from labsupport.ownership import marks; marks.sweep(); print(marks.mark())"
    with sleeper(LABSUPPORT_OWNER=marks.mark()) as marked:
        done = subprocess.run(
            ["unshare", "--fork", *kinds, sys.executable, "-c", code], check=True,
            env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert marked.poll() is None
    assert lives.exists()
    assert done.stdout.rpartition(":")[2].strip() not in marks.mark()


def test_many_may_sweep_the_same_folders_at_once(dead_mark, tmp_path):
    folders = [
        tmp_path / f"labsupport-web-{dead_mark.replace(':', '-')}-{n}" / "a/b" for n in range(300)
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    code = "from labsupport.ownership import marks; marks.sweep()"
    sweepers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]

    assert [sweeper.communicate()[1] for sweeper in sweepers] == [b""] * 4
    assert not list(tmp_path.iterdir())


def test_a_folder_goes_although_the_dying_still_write_there(tmp_path, monkeypatch):
    (folder := tmp_path / "ours").mkdir()
    late, remove = [folder / "late"], os.rmdir

    def as_it_is_removed(path, **options):
        if late:
            late.pop().touch()
        remove(path, **options)

    monkeypatch.setattr(os, "rmdir", as_it_is_removed)
    marks._remove_folder(folder)
    assert not folder.exists()


def test_one_leftover_that_stays_does_not_stop_the_others(monkeypatch, capsys):
    removed = []

    def refuse():
        raise OSError(16, "Device or resource busy")

    stays = marks.Leftover("folder A", refuse)
    goes = marks.Leftover("folder B", lambda: removed.append("B"))
    monkeypatch.setattr(marks, "leftovers", lambda: iter([stays, goes]))
    monkeypatch.setattr(marks, "SLOW_FINDERS", ())
    with pytest.warns(UserWarning, match="folder A.*busy"):
        marks.sweep()

    assert removed == ["B"]
    assert marks.main([]) == 1
    assert "not removed: folder A" in capsys.readouterr().out


@needs_root
def test_nothing_is_removed_through_a_mount_or_a_link(dead_mark, tmp_path):
    """The path has a blank, which mountinfo writes as an escape; the link has our name."""
    name = f"labsupport-web-{dead_mark.replace(':', '-')}"
    temporary, thesis = tmp_path / "my tmp", tmp_path / "precious/thesis"
    point = temporary / f"{name}-abc/mnt"
    for folder in (point, thesis.parent):
        folder.mkdir(parents=True)
    thesis.write_text("x")
    (temporary / f"{name}-link").symlink_to(thesis.parent)
    (temporary / f"{name}-other").mkdir()
    script = 'mount --bind "$1" "$2"; exec "$3" -m labsupport clean'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, "sh", thesis.parent, point, sys.executable],
        env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert thesis.exists()
    assert done.returncode == 1
    assert f"not removed: folder {point.parent}" in done.stdout
    assert f"mounted there: {point}" in done.stdout
    assert f"{name}-link" not in done.stdout  # it stays, and blocks nobody
    assert not (temporary / f"{name}-other").exists()


@pytest.mark.parametrize("owner", ["x:1", "9" * 5000 + ":1", "-1:1"])
def test_a_mark_that_is_none_of_ours_is_nobodys_end(owner):
    assert marks.is_alive(f"{owner}:{marks.mark()[-8:]}")


def test_only_what_is_named_after_a_network_goes_with_an_engine(tmp_path, monkeypatch):
    """The engine's database is binary: words such as `int` and `0` are in it by chance."""
    monkeypatch.setattr(bridges, "LINKS", tmp_path / "links")
    database = tmp_path / "network/files/local-kv.db"
    for name in ("br-int", "br-0", "br-lan", "br-0123456789ab", "br-ba9876543210"):
        (tmp_path / "links" / name).mkdir(parents=True)
    database.parent.mkdir(parents=True)
    database.write_bytes(b"\0point lan 0123456789abcdef")

    assert bridges.made_by_engine(tmp_path) == ["br-0123456789ab"]


NEIGHBOURS = """
for at in labengine0=10.128.0.1 br-0123456789ab=10.128.128.1 br-ba9876543210=10.129.128.1 \\
    lan=10.128.129.1; do
    ip link add ${at%=*} type bridge
    ip address add ${at#*=}/24 dev ${at%=*}
done
"$0" -c 'from labsupport.ownership import bridges; bridges.remove_all(bridges.POSSIBLE[0])'
ip -brief link show type bridge
"""


@needs_root
def test_only_a_network_in_its_range_goes_with_an_engine_without_a_database():
    argv = ["unshare", "--net", "sh", "-ec", NEIGHBOURS, sys.executable]
    left = subprocess.check_output(argv, text=True).splitlines()
    assert [line.split()[0] for line in left] == ["br-ba9876543210", "lan"]


def test_a_zombie_owns_nothing():
    with subprocess.Popen(["true"]) as ended:
        mark = marks.mark(ended.pid)
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert not marks.is_alive(mark)


@needs_root
def test_nothing_is_known_of_another_boot(dead_mark, tmp_path):
    """A sleeper and a folder, seen by somebody whose kernel calls its boot otherwise."""
    folder = tmp_path / f"labsupport-web-{dead_mark.replace(':', '-')}-abc"
    folder.mkdir()
    boot = tmp_path / "boot_id"
    boot.write_text("00000000-0000-4000-8000-000000000000\n")
    code = "from labsupport.ownership import marks; marks.sweep()"
    script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id; exec "$@"'
    argv = ["unshare", "-m", "sh", "-ec", script, boot, sys.executable, "-c", code]
    with sleeper(LABSUPPORT_OWNER=dead_mark) as marked:
        subprocess.run(argv, env={**os.environ, "TMPDIR": str(tmp_path)}, check=True)
        assert marked.poll() is None
    assert folder.exists()


@needs_root
def test_a_folder_of_another_user_stays(dead_mark, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name = f"labsupport-web-{dead_mark.replace(':', '-')}"
    (tmp_path / f"{name}-theirs").mkdir()
    (tmp_path / f"{name}-ours").mkdir()
    os.chown(tmp_path / f"{name}-theirs", 65534, 65534)
    marks.sweep()
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}-theirs"]


def test_a_number_that_another_process_has_by_now_is_let_be(dead_mark):
    """Between the look and the kill, the number was given to a program of somebody who lives."""
    with sleeper(LABSUPPORT_OWNER=marks.mark()) as stranger:
        marks._kill(stranger.pid, dead_mark)
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.2)


def test_a_reaper_that_was_stopped_clears_up_and_is_not_killed(tmp_path):
    """What it has made carries no mark, as a folder that was to be covered."""
    code = f"""
import subprocess, time
from labsupport.ownership import marks
reaper = subprocess.Popen(marks.reaping("--remove={tmp_path}/folder"), stdin=subprocess.PIPE)
print(reaper.pid, flush=True)
time.sleep(60)
"""
    (tmp_path / "folder").mkdir()
    with owner(code) as (_, said):
        wait_until(lambda: marks._owner_of(int(said)))
        os.kill(int(said), signal.SIGSTOP)
    assert (tmp_path / "folder").exists()
    marks.sweep()
    assert not (tmp_path / "folder").exists()


def test_only_a_dead_owners_bridge_is_found(dead_mark, tmp_path, monkeypatch):
    """By its alias: a user may call a link as we do, or give one of theirs a note like ours."""
    monkeypatch.setattr(bridges, "LINKS", tmp_path)
    dead = f"labsupport-engine-{dead_mark.replace(':', '-')}-"
    aliases = {"labengine0": dead, "labengine1": marks.prefix("engine"), "labengine2": "my own",
               "labengine3": f"{dead[:-9]}00000000-", "br0": dead}  # fmt: skip
    for name, alias in aliases.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ifalias").write_text(f"{alias}\n")
    removed = []
    monkeypatch.setattr(bridges, "remove_all", removed.append)
    for left in bridges.find():
        left.remove()
    assert removed == [bridges.POSSIBLE[0]]  # with its networks
