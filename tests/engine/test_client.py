"""What an engine says about itself, and the course's base image (3 s)."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labsupport.build import bases
from labsupport.build.bases import base_image
from labsupport.engine.client import Client
from labsupport.engine.listing import IMAGE_OWNER
from tests.engine.help import said_by


def test_the_engine_says_what_it_is(engine):
    assert engine.kind == "docker"
    assert engine.kernel_release == os.uname().release
    assert engine.cgroup_version == (2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1)
    assert engine.version == engine.client.version()["Version"]
    assert engine.storage_driver
    assert not engine.rootless


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, b"out\nerr\n"),
        ({"demux": True}, (b"out\n", b"err\n")),
        ({"stream": True}, [b"out\n", b"err\n"]),
        ({"tty": True}, b"\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n"),
    ],
    ids=str,
)
def test_words_that_come_together_with_the_answers_head_are_not_lost(options, said, tmp_path):
    """As they do on a busy machine, some ten times in a thousand."""
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    words = b"\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n"

    def answer():
        with server.accept()[0] as connection:
            asked = b""
            while not asked.endswith(b"}"):  # closed on what is unread, it would be reset
                asked += connection.recv(4096)
            connection.sendall(head + words)

    with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor() as pool:
        server.bind(str(tmp_path / "it.sock"))
        server.listen()
        pool.submit(answer)
        client = Client(base_url=f"unix://{tmp_path}/it.sock", version="1.41", timeout=60)
        heard = client.api.exec_start("1", **options)
        assert (list(heard) if "stream" in options else heard) == said
