"""An engine of our own: apart from the machine's, and gone without a trace (about 10 s)."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from ipaddress import ip_network
from pathlib import Path

import pytest

from labsupport.build.bases import base_image
from labsupport.engine import daemon
from labsupport.engine.client import Engine
from labsupport.errors import LabError
from labsupport.kernel import proc
from labsupport.ownership import bridges
from tests.engine.help import folder_of, needs_engine, said_by, start_sleeper, traces
from tests.toys import stand_in
from tests.waiting import is_alive, owner, wait_until

SERVES = ["sh", "-c", "mkdir /web; echo hello > /web/index.html; httpd -f -p 80 -h /web"]


OWNER_OF_AN_ENGINE = f"""
import time
from labsupport.build.bases import base_image
from labsupport.engine.client import Engine
engine = Engine.start_private()
network = engine.client.networks.create("own")
container = engine.client.containers.run(
    base_image(engine), {SERVES}, ports={{"80/tcp": None}}, network="own", detach=True)
pid = engine.client.api.inspect_container(container.id)["State"]["Pid"]
print(engine.address, pid, flush=True)
time.sleep(600)
"""


def links_of(reaper):
    """The bridge of an engine whose reaper this is, and what is plugged in."""
    bridges_ = [
        link.name
        for link in bridges.LINKS.glob("labengine*")
        if f"labsupport-engine-{reaper}-" in (link / "ifalias").read_text()
    ]
    return {*bridges_, *(port for name in bridges_ for port in bridges._ports(name))}


def all_links():
    return set(os.listdir(bridges.LINKS))


def numbered(names):
    """These links with their numbers: when one has gone, another engine may take its name."""
    return {(number, name) for number, name in socket.if_nameindex() if name in names}


@needs_engine
def test_a_killed_owner_leaves_nothing():
    with owner(OWNER_OF_AN_ENGINE) as (notebook, said):
        address, pid = said.split()
        folder = Path(address.removeprefix("unix://")).parent
        assert is_alive(int(pid))
        [reaper] = proc.children(notebook)
        links = {*links_of(reaper), *bridges.made_by_engine(folder / "data")}
        assert len(links) == 2  # the engine's bridge, and that of its other network
        there = numbered(links)
        port = numbered({port for name in links for port in bridges._ports(name)})
    wait_until(lambda: not traces(folder))

    assert not is_alive(int(pid))
    assert (len(there), len(port)) == (2, 1)
    assert not there & numbered(links)
    wait_until(lambda: not port & set(socket.if_nameindex()))  # a network's end takes a moment


@needs_engine
def test_a_bridge_whose_reaper_was_killed_is_found_by_its_alias():
    with Engine.start_private() as engine:
        reaper = engine._daemon.process
        [bridge] = links_of(reaper.pid)
        assert f"bridge {bridge}" not in [left.what for left in bridges.find()]
        reaper.kill()
        reaper.wait()
        assert f"bridge {bridge}" in [left.what for left in bridges.find()]
        for name in ("pid", "exec/containerd/containerd.pid"):
            os.kill(int((folder_of(engine) / name).read_text()), signal.SIGKILL)
    shutil.rmtree(folder_of(engine))

    with Engine.start_private() as engine:
        assert links_of(reaper.pid) == set()


@needs_engine
def test_an_engines_networks_go_with_it_when_its_files_have_gone_before():
    with Engine.start_private() as engine:
        network = engine.client.networks.create("own")
        shutil.rmtree(folder_of(engine) / "data", ignore_errors=True)
        assert f"br-{network.short_id}" in all_links()
        with pytest.raises(LabError, match="could not be loaded"):
            base_image(engine)
    assert f"br-{network.short_id}" not in all_links()


def test_ports_are_published_on_the_loopback_and_names_are_known(engine):
    client, image = engine.client, base_image(engine)
    network = client.networks.create("talk")
    published = {"80/tcp": None}
    web = client.containers.run(image, SERVES, name="web", ports=published, detach=True)
    network.connect(web)
    web.reload()
    [port] = web.ports["80/tcp"]
    assert port["HostIp"] == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{port['HostPort']}", timeout=60) as page:
        assert page.read() == b"hello\n"
    question = ["wget", "-q", "-O-", "http://web/"]
    assert said_by(client, image, question, network="talk") == b"hello\n"
    web.remove(force=True)
    network.remove()


@needs_engine
def test_a_closed_engine_leaves_nothing_and_the_machines_folders_and_network_as_they_were():
    """Other engines may be at work on this machine, so we look for traces of this one."""

    def seen():
        folders = (Path("/etc/docker"), Path("/run/containerd"), Path("/var/lib/docker"))
        times = {path: path.stat().st_mtime_ns for top in folders for path in top.glob("**/*")}
        forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
        return times, forwarding, "docker0" in all_links()

    def rules():
        programs = [["iptables-save"], ["nft", "list", "ruleset"]]
        return "".join(subprocess.check_output(argv, text=True) for argv in programs)

    before = seen()
    with Engine.start_private() as engine:
        pid, folder = start_sleeper(engine), folder_of(engine)
        assert len(traces(folder)) >= 3
        [bridge] = links_of(engine._daemon.process.pid)
        network = engine.client.networks.create("own")
        network.reload()
        addresses = [each["Subnet"] for each in network.attrs["IPAM"]["Config"]]
        own = bridges.RANGES[int(bridge.removeprefix("labengine"))]
        assert [ip_network(address).subnet_of(own) for address in addresses] == [True]
        for trace in (bridge, f"br-{network.short_id}", str(own[0]).rsplit(".", 2)[0] + "."):
            assert trace not in rules()
        assert seen() == before
        assert folder.name not in Path("/proc/self/mountinfo").read_text()
        there = numbered({bridge, f"br-{network.short_id}"})
        assert len(there) == 2
    assert not is_alive(pid)
    assert traces(folder) == []
    assert not there & set(socket.if_nameindex())
    assert seen() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("script", "said"),
    [("echo no overlay here; exit 3", "no overlay here"), ("exit 3", "printed nothing")],
)
def test_a_daemon_that_does_not_start_is_quoted(tmp_path, monkeypatch, script, said):
    stand_in(tmp_path / "dockerd", script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with tempfile.TemporaryDirectory(prefix="lab-") as scratch:  # pytest's own is too long a path
        monkeypatch.setattr(tempfile, "tempdir", scratch)
        with pytest.raises(LabError, match=f"dockerd did not start: (.|\n)*{said}"):
            Engine.start_private()
        assert os.listdir(scratch) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_temporary_folder_too_deep_for_a_socket_is_told(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(LabError, match=r"too long for a socket(.|\n)*TMPDIR=/tmp"):
        Engine.start_private()
    assert list(deep.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_daemon_that_is_never_ready_is_ended(tmp_path, monkeypatch):
    stand_in(tmp_path / "dockerd", f"echo $$ > {tmp_path}/pid\nexec sleep 600")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(daemon, "READY_SECONDS", 0.7)

    with pytest.raises(LabError, match=r"not ready in(.|\n)*it still runs"):
        Engine.start_private()
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_only_root_has_a_private_engine(nowhere, nobody):
    with pytest.raises(LabError, match=r"only root can|no program `dockerd`"):
        Engine.start_private()
