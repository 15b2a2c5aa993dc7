"""What an engine says about itself, and the course's base image (3 s)."""

import os
from pathlib import Path

from labsupport.build import bases
from labsupport.build.bases import base_image
from labsupport.engine.listing import IMAGE_OWNER
from labsupport.sandbox.rootfs import static_busybox
from tests.engine.help import folder_of, said_by, start_sleeper


def test_the_engine_says_what_it_is(engine):
    assert engine.kind == "docker"
    assert engine.kernel_release == os.uname().release
    assert engine.cgroup_version == (2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1)
    assert engine.version == engine.client.version()["Version"]
    assert engine.storage_driver
    assert not engine.rootless


def test_a_container_of_the_base_image_is_a_process_here(engine):
    pid = start_sleeper(engine)

    assert folder_of(engine).name in Path(f"/proc/{pid}/cgroup").read_text()
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert Path(f"/proc/{pid}/root/bin/sh").is_symlink()
    assert Path(f"/proc/{pid}/root/bin/busybox").read_bytes() == static_busybox().read_bytes()


def test_the_base_image_is_made_once_and_runs_every_tool(engine):
    first, second = base_image(engine), base_image(engine)

    assert first.id == second.id
    assert first.labels == {IMAGE_OWNER: "course"}
    assert [step["CreatedBy"].split()[0] for step in first.history()] == ["CMD", "ENV", "ADD"]
    script = "id -un; ls -ld /tmp; which httpd; wc -l < /etc/passwd"
    said = said_by(engine.client, first, ["sh", "-c", script])
    assert said.decode().split("\n")[0] == "root"
    assert b"drwxrwxrwt" in said
    assert b"/httpd" in said


def test_another_image_of_that_name_is_replaced(engine):
    made = base_image(engine)
    engine.client.images.load(_other_image())
    assert engine.client.images.get(bases.TAG).id != made.id

    assert base_image(engine).id == made.id


def _other_image():
    layer = bases.pack({"hello": bases.a_file(b"hello")})
    return bases.archive(bases.TAG, [layer], ["COPY hello /"])
