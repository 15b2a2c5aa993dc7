"""Building and running on a bench: the results, and that nothing stays (20 s)."""

from pathlib import Path

import pytest

from labsupport.build.container import command_line
from labsupport.build.workbench import CMDS, ENTRYPOINTS, Workbench, outcomes, try_start
from labsupport.engine import listing
from labsupport.engine.client import Engine
from labsupport.engine.listing import OWNER, owner_labels
from labsupport.errors import BuildFailed, LabError, TimedOut
from labsupport.ownership import marks
from tests.waiting import owner

BUSYBOX = "labsupport/busybox"


@pytest.fixture
def engine(an_engine):
    with Engine.connect() as engine:
        yield engine


@pytest.fixture
def bench(engine):
    with Workbench(engine) as bench:
        yield bench


def test_what_is_built_is_called_ours_and_can_be_run(bench, engine):
    bench.write("program", "#!/bin/sh\necho $0 says $*\n", executable=True)
    build = bench.build('FROM labsupport/busybox\nCOPY program /\nENTRYPOINT ["/program"]', "talk")

    ran = bench.run("talk", "hello", "you")

    assert (ran.output, ran.errors, ran.status) == ("/program says hello you\n", "", 0)
    assert ran.argv == ("/program", "hello", "you")
    assert ran.command == "docker run --rm labsupport/talk hello you"
    assert bench.image("talk").id == build.image_id
    assert bench.image("talk").tags == ["labsupport/talk:latest"]


def test_containers_carry_our_label_and_are_removed_after_a_run(bench):
    bench.run(BUSYBOX, "true")
    assert bench.things() == []
    container = bench.create(BUSYBOX)
    assert container.labels[OWNER] == owner_labels()[OWNER]


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["sh", "-c", "exit 3"], 3, ""),
        (["/etc/passwd"], 126, "permission denied"),
        (["nowhere"], 127, "not found"),
        (["sh", "-c", "kill -9 $$; kill -TERM $$; echo still here"], 0, "still here"),  # PID 1
    ],
)
def test_the_exit_status_is_that_of_docker_run(bench, argv, status, said):
    ran = bench.run(BUSYBOX, *argv)
    assert ran.status == status
    assert said in ran.said


def test_a_container_that_cannot_be_had_is_told_in_the_engines_words(bench):
    ran = bench.run(BUSYBOX, "true", network_mode="no-such-network-mode")
    # some engines refuse to make it, others to start it
    assert ran.status != 0
    assert "network" in ran.said


def test_a_program_that_does_not_end_is_ended(bench, engine):
    with pytest.raises(TimedOut, match=r"sleep 1000.*waited for 1 s"):
        bench.run(BUSYBOX, "sleep", "1000", patience=1)
    assert bench.things() == []


def test_starting_until_a_word_is_said_waits_for_it_or_for_the_end(bench):
    talker = bench.start(BUSYBOX, "sh", "-c", "sleep 0.3; echo now; sleep 1000", until="now")
    assert b"now" in talker.logs()
    assert talker.status == "running"
    mute = bench.start(BUSYBOX, "true", until="now")
    mute.wait()
    mute.reload()
    assert mute.status == "exited"


def test_an_unknown_image_is_an_error_that_names_the_known(bench):
    bench.build("FROM labsupport/busybox", "known")
    with pytest.raises(LabError, match=r"no image 'knwon'.*did you mean 'known'"):
        bench.run("knwon")


def test_a_build_that_fails_leaves_nothing(bench):
    with pytest.raises(BuildFailed):
        bench.build("FROM labsupport/busybox\nENV A=1\nRUN false", "bad")
    assert "bad" not in bench.images
    assert bench.things() == []


def test_two_benches_do_not_take_each_others_image(engine, bench):
    bench.build('FROM labsupport/busybox\nCMD ["echo", "first"]', "same")
    with Workbench(engine) as other:
        other.build('FROM labsupport/busybox\nCMD ["echo", "second"]', "same")
        assert bench.run("same").output == "first\n"
        assert other.run("same").output == "second\n"
    assert bench.run("same").output == "first\n"


def test_closing_removes_containers_images_and_folder(engine):
    before = {each.id for each in engine.client.images.list(all=True)}
    with Workbench(engine) as bench:
        bench.build("FROM labsupport/busybox\nENV A=1\nENV B=2", "one")
        bench.build("FROM labsupport/one\nENV C=3", "two")
        bench.start("two", "sleep", "1000")
        assert len(bench.things()) > 2
    assert bench.things() == []
    assert {each.id for each in engine.client.images.list(all=True)} == before
    assert not bench.folder.exists()
    bench.close()  # twice does no harm


def test_an_image_that_somebody_uses_stays(engine):
    bench = Workbench(engine)
    bench.build("FROM labsupport/busybox\nENV USED=1", "used")
    somebodys = engine.client.containers.create(bench.images["used"], network_mode="none")
    image = bench.images["used"]
    bench.close()
    try:
        assert engine.client.images.get(image).id == image
    finally:
        somebodys.remove()
        listing.remove_image(engine.client, image)


KILLED = """
import time
from labsupport.engine.client import Engine
from labsupport.build.workbench import Workbench
bench = Workbench(Engine.connect())
bench.build("FROM labsupport/busybox\\nENV KILLED=1", "killed")
bench.start("killed", "sleep", "1000")
print(bench.folder, bench.images["killed"], flush=True)
time.sleep(600)
"""


def test_after_kill_9_the_next_connection_takes_it_all_away(engine):
    with owner(KILLED) as (_, said):
        folder, image = said.split()
    there = {each.id for each in engine.client.images.list(all=True)}
    assert image in there
    assert Path(folder).exists()

    Engine.connect().close()

    assert image not in {each.id for each in engine.client.images.list(all=True)}
    assert not [
        each
        for each in engine.client.containers.list(all=True, ignore_removed=True)
        if each.attrs["Image"] == image
    ]
    marks.sweep()
    assert not Path(folder).exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "docker run --rm app -x"),
        (
            {"network_mode": "none", "cap_add": "X"},
            "docker run --rm --network=none --cap-add=X app -x",
        ),
        ({"mem_limit": "64m"}, "docker run --rm --memory=64m app -x"),
        ({"entrypoint": "id"}, "docker run --rm --entrypoint=id app -x"),
        ({"entrypoint": ["sh", "-c"]}, "docker run --rm --entrypoint=sh app -c -x"),
    ],
)
def test_a_command_line_has_the_flags_that_docker_has(options, line):
    assert command_line("app", ("-x",), options) == line


# ---- every form of ENTRYPOINT with every form of CMD, built and run


def test_the_table_says_what_was_started_and_why_it_failed(bench):
    found = [try_start(bench, ENTRYPOINTS[1], CMDS[0], "you"), try_start(bench, "", CMDS[0])]
    table = outcomes(found)
    assert table.finding == "2 ways to start a program; 1 fail"
    assert table.rows[0][2:] == ("you", "`greet Hello you`", "Hello you", "0", "greet")
    assert table.rows[1][0] == "none"
    assert '"world"' in table.rows[1][4]
    assert table.rows[1][5:] == ("127", "nobody")
