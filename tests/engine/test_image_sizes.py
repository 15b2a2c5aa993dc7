"""What an image weighs and what it takes of the disk are told apart (5 s).

containerd's store is newer than some engines: what it answers is also told by a server that knows
its documented API, and nothing else.
"""

from __future__ import annotations

import subprocess

import docker
import pytest

from labsupport.engine.client import Engine
from labsupport.engine.describing import describe
from labsupport.engine.image_sizes import ImageSizes, image_sizes
from tests.engine.help import folder_of, needs_dockerd, said_by

NAME = "labsupport/busybox:latest"
WHOSE = (NAME, "containerd", "overlayfs")
VERSION = {"Version": "29.0.0", "ApiVersion": "1.52", "Arch": "amd64", "KernelVersion": "6.12"}
CONTAINERD = {
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "CgroupVersion": "2",
}


def needs_classic(engine):
    if engine.image_store != "classic":
        pytest.skip(f"needs the classic image store: this engine has {engine.image_store}'s")


@needs_dockerd
def test_the_classic_store_keeps_the_layers_unpacked(engine):
    needs_classic(engine)
    image = engine.base_image()
    sizes = engine.sizes(NAME)

    assert sizes.image_store == "classic"
    assert sizes.disk_bytes == sizes.unpacked_bytes == image.attrs["Size"]
    assert sizes.content_bytes == 0
    assert "unpacked only" in str(sizes)
    upper = image.attrs["GraphDriver"]["Data"]["UpperDir"]
    kilobytes = int(subprocess.check_output(["du", "-sk", "--apparent-size", upper]).split()[0])
    assert abs(kilobytes * 1024 - sizes.disk_bytes) < 200_000  # folders and links count there


@needs_dockerd
def test_another_storage_driver_changes_no_size_and_no_program():
    with Engine.start_private("vfs") as engine:
        needs_classic(engine)
        assert engine.storage_driver == "vfs"
        image = engine.base_image()
        assert engine.sizes(NAME).disk_bytes == image.attrs["Size"]
        assert "takes more yet" in str(engine.sizes(NAME))
        assert said_by(engine.client, image, ["busybox", "echo", "hello"]) == b"hello\n"
        assert (folder_of(engine) / "data/vfs").is_dir()


@needs_dockerd
def test_an_unknown_image_is_dockers_error(engine):
    with pytest.raises(docker.errors.ImageNotFound):
        engine.sizes("no/such:image")


@needs_dockerd
def test_containerds_store_keeps_them_twice(engine):
    if engine.image_store != "containerd":
        pytest.skip(f"needs containerd's image store: {engine.kind} has the {engine.image_store}")
    engine.client.containers.run(engine.base_image(), ["true"], remove=True)  # it is unpacked now
    sizes = engine.sizes(NAME)
    assert sizes.content_bytes > 1_000_000 < sizes.unpacked_bytes
    assert "as it travels" in str(sizes)


def test_containerds_store_is_recognised():
    said = describe(VERSION, CONTAINERD)
    assert (said.image_store, said.storage_driver) == ("containerd", "overlayfs")
    assert describe(VERSION, {"Driver": "overlay2"}).image_store == "classic"
    assert describe(VERSION, {"Driver": "overlay2", "DriverStatus": None}).rootless is False


def test_its_two_sizes_add_up_over_what_is_here(containerd):
    sizes = image_sizes(containerd("1.52"), NAME)
    assert sizes == ImageSizes(*WHOSE, 800_300, 2_000_000)
    assert sizes.disk_bytes == 2_800_300
    assert "0.8 MB as it travels + 2.0 MB unpacked = 2.8 MB" in str(sizes)


def test_before_it_told_of_manifests_the_list_had_both_and_the_image_one(containerd):
    assert image_sizes(containerd("1.45"), NAME) == ImageSizes(*WHOSE, 800_000, 2_000_000)


@pytest.fixture
def containerd():
    """An engine that answers as one with containerd's store does."""

    class Answer:
        def raise_for_status(self):
            pass

        def json(self):
            here = {"Content": 800_000, "Total": 2_800_000}
            attestation = {"Content": 300, "Total": 300}
            elsewhere = {"Content": 5_000, "Total": 5_000}
            return {
                "Manifests": [
                    {"Available": True, "Kind": "image", "Size": here},
                    {"Available": True, "Kind": "attestation", "Size": attestation},
                    {"Available": False, "Kind": "image", "Size": elsewhere},
                ]
            }

    class Client:
        base_url, timeout, attrs, id = "http+docker://localhost", 5, {"Size": 800_000}, "sha256:1"

        def __init__(self):
            self.api = self.images = self

        def get(self, what, **options):
            if not options:
                return self
            assert what == f"{self.base_url}/v1.48/images/sha256:1/json"
            assert options["params"] == {"manifests": "1"}
            return Answer()

        def __call__(self):
            return [{"Id": "sha256:0", "Size": 1}, {"Id": "sha256:1", "Size": 2_800_000}]

    def make(newest_api):
        said = describe({**VERSION, "ApiVersion": newest_api}, CONTAINERD)
        return Engine(client=Client(), address="", **vars(said))

    return make
