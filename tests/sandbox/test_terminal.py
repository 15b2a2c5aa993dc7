"""A terminal: a real shell in a sandbox, in a container and here; typed into, read, ended."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from labsupport import Sandbox, Terminal, probe, trace
from labsupport.errors import LabError
from labsupport.sandbox.terminal import control_free
from tests import census
from tests.waiting import owner, wait_until


@pytest.fixture
def box():
    if refusal := probe().why_not("ns.pid"):
        pytest.skip(f"needs ns.pid: {refusal.reason}")
    with Sandbox(new={"pid", "mount", "uts"}, hostname="inside") as box:
        yield box


def test_a_shell_in_a_sandbox_sees_what_the_sandbox_sees(box):
    async def session():
        with Terminal(box) as terminal:
            terminal.type("echo pid=$$ name=$(hostname)\n")
            await terminal.expect("name=inside")
            return terminal.transcript

    printed = asyncio.run(session())
    number = int(printed.split("pid=")[-1].split()[0])
    assert 1 < number < 20


def test_the_command_beside_it_is_what_runs(box):
    async def session():
        with Terminal(box) as terminal:
            terminal.type("tty\n")
            await terminal.expect("/dev/pts/")
            return terminal.command

    command = asyncio.run(session())
    done = subprocess.run(
        [*command.split(), "-c", "hostname"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "inside\n"


def test_it_is_a_terminal_of_its_size_with_job_control():
    async def session():
        with Terminal(argv=["sh"], rows=20, columns=77) as terminal:
            terminal.type("stty size\n")
            await terminal.expect("20 77")
            terminal.type("sleep 1000\n")
            await asyncio.sleep(0.2)
            terminal.type("\x03")
            terminal.type("echo status=$?\n")
            await terminal.expect("status=130")

    asyncio.run(session())


def test_control_sequences_are_not_in_the_transcript():
    async def session():
        with Terminal(argv=["printf", r"\033[1;31mred\033[0m \033]0;title\007caf\303\251"]) as it:
            return await it.expect("café")

    assert asyncio.run(session()).startswith("red café")


def test_a_control_sequence_that_has_not_ended_is_not_in_the_transcript_either():
    text = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]2;more\x1b\\\x1b(Bcafé\r\n\x1bM$ "
    shown = control_free(text)
    assert shown == "red café\n$ "
    for at in range(len(text)):
        assert shown.startswith(control_free(text[:at])), at


def test_a_shell_that_ends_closes_its_terminal():
    async def session():
        terminal = Terminal()
        terminal.type("exit\n")
        async with asyncio.timeout(5):
            while terminal.running:
                await asyncio.sleep(0.01)
        with pytest.raises(LabError):
            terminal.type("echo\n")
        with pytest.raises(LabError):
            await terminal.expect("more", seconds=1)

    asyncio.run(session())


def test_what_is_not_printed_is_told_with_what_was():
    async def session():
        with Terminal() as terminal:
            terminal.type("echo something\n")
            with pytest.raises(LabError, match="something"):
                await terminal.expect("other thing", seconds=0.5)

    asyncio.run(session())


def test_nothing_is_left_of_a_closed_terminal(box):
    async def session():
        with Terminal(box) as terminal:
            terminal.type("sleep 12321 &\n sleep 12321\n")
            await asyncio.sleep(0.3)
            assert census.running("sleep 12321")
        await asyncio.sleep(0.2)

    assert box.pid  # it has a PID 1 from here on
    files = len(os.listdir("/proc/self/fd"))
    asyncio.run(session())
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


def test_a_shell_in_a_container(monkeypatch):
    if os.geteuid() != 0 or not shutil.which("docker"):
        pytest.skip("needs root, for a private engine, and the command docker")
    from labsupport.build.container import Container
    from labsupport.engine.client import Engine

    async def session(container):
        with Terminal(container) as terminal:
            terminal.type("echo files=$(ls / | wc -l) pid=$$; tty\n")
            await terminal.expect("/dev/pts/")
            return terminal.command

    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(Engine.start_private())
        monkeypatch.setitem(trace.environment, "DOCKER_HOST", engine.address)
        container = stack.enter_context(Container(engine))
        command = asyncio.run(session(container))
        assert command == f"docker exec -it {container.container.name} sh"


def foreground(pids):
    """Those that are not in the background: a shell's background jobs may survive a hangup."""
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").read_text().split()[7] != "-1"]


def test_a_line_is_whole_and_not_the_echo_of_what_was_typed():
    async def session():
        with Terminal() as terminal:
            terminal.type("printf 'I am '; sleep 0.3; echo whole\n")
            return await terminal.line("I am")

    assert asyncio.run(session()) == "I am whole"


def test_a_line_that_never_ends_is_told():
    async def session():
        with Terminal() as terminal:
            terminal.type("printf 'never ends'; sleep 9\n")
            with pytest.raises(LabError, match="'never' was not printed within"):
                await terminal.line("never", seconds=0.3)

    asyncio.run(session())
