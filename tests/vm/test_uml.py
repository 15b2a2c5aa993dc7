"""What can be wrong with the host, in one sentence each, before or instead of a boot. 3 s."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from labsupport import errors
from labsupport.doctor import guest as host
from labsupport.doctor.guest import find_kernel
from labsupport.vm import uml
from labsupport.vm.guest import LabVM
from tests.toys import stand_in


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, r"(?s)linux: No such.*What to do"), (b"#!/bin/sh", "not an ELF program"),
     (b"\x7fELF", r"chmod \+x")],
)  # fmt: skip
def test_what_is_not_a_kernel_is_refused(monkeypatch, tmp_path, content, words):
    if content:
        (tmp_path / "linux").write_bytes(content)
    monkeypatch.setenv("LAB_KERNEL", str(tmp_path / "linux"))
    with pytest.raises(errors.LabError, match=words):
        find_kernel()


@pytest.mark.parametrize(
    ("flags", "version", "is_refused"),
    [("amx_bf16 amx_tile", "6.12.1", True), ("amx_bf16 amx_tile", "6.13.0", False),
     ("avx512f", "6.12.1", False)],
)  # fmt: skip
def test_a_distributions_kernel_that_loses_registers_is_refused(
    monkeypatch, tmp_path, flags, version, is_refused
):
    stand_in(tmp_path / "linux.uml", f"echo {version}")
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(f"flags: fpu {flags} end\n")
    monkeypatch.setattr("labsupport.doctor.guest.CPU_INFO", cpu)
    monkeypatch.setattr("labsupport.doctor.guest.own_kernel", lambda: None)
    monkeypatch.delenv("LAB_KERNEL", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(errors.LabError) as no:
        find_kernel()
    assert ("AMX" in str(no.value)) == is_refused  # else: a script is not an ELF program


def test_no_kernel_at_all(monkeypatch, tmp_path):
    monkeypatch.delenv("LAB_KERNEL", raising=False)
    monkeypatch.setattr("labsupport.doctor.guest.own_kernel", lambda: None)
    monkeypatch.setattr(host.shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(errors.LabError, match=r"user-mode-linux.*build-kernel"):
        find_kernel()
    monkeypatch.setenv(host.BUILT_MEANWHILE, "1")
    with pytest.raises(errors.LabError, match=r"builds one meanwhile.*Kernel > Restart"):
        find_kernel()


def test_too_little_memory_for_a_guest():
    with pytest.raises(errors.LabError, match="8 MB were asked for"):
        LabVM.boot("8M")


def test_the_least_memory_is_enough_to_start(vm_kernel):
    with LabVM.boot(f"{host.LEAST_MEMORY >> 20}M") as guest:
        assert guest.run([sys.executable, "-c", "print('up')"]).stdout == "up\n"


@pytest.mark.parametrize(
    ("limit", "usage", "cache"),
    [
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_a_containers_limit_counts_without_its_file_cache(
    limit, usage, cache, tmp_path, monkeypatch
):
    (tmp_path / limit).write_text(f"{500 << 20}\n")
    (tmp_path / usage).write_text(f"{450 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 7\n{cache} {30 << 20}\n")
    monkeypatch.setattr(host, "_LIMITS", [(tmp_path, limit, usage, cache)])
    monkeypatch.setattr(host, "find_kernel", lambda: Path("/any"))
    with pytest.raises(errors.LabError, match="80 MB are left"):
        host.check(256 << 20)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "killed because"),
        ("low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n", "killed because"),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "has died"),
    ],
)
def test_a_death_where_a_container_has_killed_for_memory(events, words, tmp_path, monkeypatch):
    (tmp_path / "events").write_text(events)
    monkeypatch.setattr(uml, "_EVENTS", (tmp_path / "events", tmp_path / "of another version"))
    said = uml.explain("something harmless", was_up=True).what
    assert words in said
    assert ("killed" in said) == ("killed" in words)
    assert uml.explain("Kernel panic", was_up=True).what == "the Lab VM has died"


def in_a_mount_namespace(code):
    """Run Python with mounts of its own; return what it prints."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", textwrap.dedent(code)], capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


MOUNT = """
    import os, subprocess
    from labsupport import errors
    from labsupport.vm.guest import LabVM
    subprocess.run(["mount", "-t", "tmpfs", "-o", {options!r}, "t", "/mnt"], check=True)
    os.environ["TMPDIR"] = "/mnt"
    try:
        LabVM.boot("256M")
    except errors.LabError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("options", "what", "why"),
    [
        ("size=100M", "no space for", "/mnt has 100 MB free"),
        ("noexec", "no folder for the guest", "/mnt"),
    ],
)
def test_a_folder_that_no_guest_can_use(vm_kernel, options, what, why):
    said = in_a_mount_namespace(MOUNT.format(options=options))
    assert said.startswith(f"LabError {what}")
    assert why in said


def test_space_that_runs_out_later(vm_kernel):
    code = MOUNT.format(options="size=280M").replace(
        'LabVM.boot("256M")',
        "guest = LabVM.boot('256M'); open('/mnt/fill', 'wb').write(bytes(240 << 20));"
        " guest.run(['dd', 'if=/dev/zero', 'of=/run/x', 'bs=1M', 'count=100'])",
    )
    said = in_a_mount_namespace(code)
    assert said.startswith("LabError the Lab VM ran out of space")
    assert "/mnt" in said


def test_ptrace_forbidden_by_seccomp_is_told(vm_kernel, as_user):
    code = """
        import os, struct, sys
        from labsupport import errors
        from labsupport.kernel import syscalls
        from labsupport.vm.guest import LabVM
        os.environ["LAB_KERNEL"] = "/usr/bin/linux.uml"  # root's own build is out of reach
        BPF = [(0x20, 0, 0, 0), (0x15, 0, 1, 101), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.seccomp_set_filter(b"".join(struct.pack("HBBI", *line) for line in BPF))
        try:
            LabVM.boot("256M")
        except errors.LabError as error:
            print(type(error).__name__, error)
    """
    done = as_user([sys.executable, "-c", textwrap.dedent(code)])
    assert done.stdout.startswith("LabError the Lab VM cannot run here"), done
    assert "LAB_PLACE=host" in done.stdout


@pytest.mark.parametrize(
    ("scope", "cap", "fine"),
    [(1, False, True), (2, False, False), (2, True, True), (3, True, False)],
)
def test_yamas_scope(scope, cap, fine):
    assert host.yama_allows(scope, cap) is fine
