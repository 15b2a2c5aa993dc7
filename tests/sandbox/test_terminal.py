"""A terminal: a real shell in a sandbox, in a container and here; typed into, read, ended."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from labsupport import Sandbox, Terminal, trace
from labsupport.build.container import Container
from labsupport.engine.client import Engine
from labsupport.errors import LabError
from labsupport.sandbox.terminal import control_free
from tests import census
from tests.waiting import owner, wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.needs("ns.pid")]


@pytest.fixture
def box():
    with Sandbox(new={"pid", "mount", "uts"}, hostname="inside") as box:
        yield box


async def test_it_is_a_terminal_of_its_size_with_job_control():
    with Terminal(argv=["sh"], rows=20, columns=77) as terminal:
        terminal.type("stty size\n")
        await terminal.expect("20 77")
        terminal.type("sleep 1000\n")
        await asyncio.sleep(0.2)
        terminal.type("\x03")
        terminal.type("echo status=$?\n")
        await terminal.expect("status=130")


async def test_control_sequences_are_not_in_the_transcript():
    with Terminal(argv=["printf", r"\033[1;31mred\033[0m \033]0;title\007caf\303\251"]) as it:
        assert (await it.expect("café")).startswith("red café")


def test_a_control_sequence_that_has_not_ended_is_not_in_the_transcript_either():
    text = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]2;more\x1b\\\x1b(Bcafé\r\n\x1bM$ "
    shown = control_free(text)
    assert shown == "red café\n$ "
    for at in range(len(text)):
        assert shown.startswith(control_free(text[:at])), at


async def test_a_shell_that_ends_closes_its_terminal():
    terminal = Terminal()
    terminal.type("exit\n")
    async with asyncio.timeout(5):
        while terminal.running:
            await asyncio.sleep(0.01)
    with pytest.raises(LabError):
        terminal.type("echo\n")
    with pytest.raises(LabError):
        await terminal.expect("more", seconds=1)


async def test_nothing_is_left_of_a_closed_terminal(box):
    assert box.pid  # it has a PID 1 from here on
    files = len(os.listdir("/proc/self/fd"))
    with Terminal(box) as terminal:
        terminal.type("sleep 12321 &\n sleep 12321\n")
        await asyncio.sleep(0.3)
        assert census.running("sleep 12321")
    await asyncio.sleep(0.2)
    assert not foreground(census.running("sleep 12321"))
    assert len(os.listdir("/proc/self/fd")) == files


def test_nothing_is_left_after_kill_9():
    code = """
        import asyncio, labsupport as lab
        async def main():
            t = lab.Terminal()
            t.type('echo ready; sleep 12321\\n')
            await t.expect('ready\\n')
            print('ready', flush=True)
            await asyncio.sleep(100)
        asyncio.run(main())
    """
    with owner(code) as (_, said):
        assert said == "ready"
    wait_until(lambda: not census.running("sleep 12321"))


@pytest.mark.skipif(not shutil.which("docker"), reason="needs the command docker")
async def test_a_shell_in_a_container(an_engine, monkeypatch):
    monkeypatch.setitem(trace.environment, "DOCKER_HOST", an_engine)
    with Engine.connect() as engine, Container(engine) as made, Terminal(made) as terminal:
        terminal.type("echo files=$(ls / | wc -l) pid=$$; tty\n")
        await terminal.expect("/dev/pts/")
        assert terminal.command == f"docker exec -it {made.container.name} sh"


def foreground(pids):
    """Those that are not in the background: a shell's background jobs may survive a hangup."""
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").read_text().split()[7] != "-1"]


async def test_a_line_is_whole_and_not_the_echo_of_what_was_typed():
    with Terminal() as terminal:
        terminal.type("printf 'I am '; sleep 0.3; echo whole\n")
        assert await terminal.line("I am") == "I am whole"


async def test_a_line_that_never_ends_is_told():
    with Terminal() as terminal:
        terminal.type("printf 'never ends'; sleep 9\n")
        with pytest.raises(LabError, match="'never' was not printed within"):
            await terminal.line("never", seconds=0.3)
