"""The page's kernel, with the frames of its line, in a process of this machine."""

import json
import os
import re
import select
import signal
import socket
import time
import uuid
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import pytest

from labsupport.course import progress
from labsupport.errors import LabError
from labsupport.page import agent, build, kernel, pack
from tests.waiting import wait_until


class Page:
    """What the page does at the other end of the line."""

    def __init__(self, line):
        self.frames = agent.Frames(line.fileno())
        self.read_bytes = self.sent_bytes = 0
        self.heard, self.told = deque(), []

    def order(self, **words):
        self._send(0, json.dumps(words).encode())

    def request(self, kind, **content):
        head = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": "s", "username": "u",
                "version": "5.3", "date": "2026-01-01T00:00:00Z"}  # fmt: skip
        message = {"header": head, "parent_header": {}, "metadata": {}, "content": content}
        self._send(1, kernel.pack(message))
        return head["msg_id"]

    def run(self, code):
        return self.request(
            "execute_request", code=code, silent=False, store_history=True, user_expressions={},
            allow_stdin=True, stop_on_error=True,
        )  # fmt: skip

    def _send(self, channel, payload):
        self.sent_bytes += agent.HEADER.size + len(payload)
        self.frames.send(channel, payload)

    def until(self, kind, request=None, seconds=60):
        """Take messages up to one of that kind (and of that request); return them."""
        taken, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            while self.heard:
                taken.append(self.heard.popleft())
                answers = request in (None, taken[-1]["parent_header"]["msg_id"])
                if answers and taken[-1]["header"]["msg_type"] == kind:
                    return taken
            if select.select([self.frames.fd], [], [], 1)[0]:
                self._hear()
        raise AssertionError(f"no {kind} among {[m['header']['msg_type'] for m in taken]}")

    def _hear(self):
        for channel, payload in self.frames.receive():
            if channel == 0:
                self.told.append(json.loads(payload))
                self.read_bytes += self.told[-1].get("read", 0)
            else:
                self.heard.append(kernel.unpack(payload))

    def said(self, code):
        """Run a cell to its end, and return what it prints."""
        return texts(self.until("execute_reply", self.run(code)))

    def outcome(self, request):
        reply = self.until("execute_reply", request)[-1]
        self.until("status", request)  # what waits behind a failed cell has been aborted by then
        return reply


def texts(messages):
    return "".join(m["content"]["text"] for m in messages if m["header"]["msg_type"] == "stream")


class Prepared(kernel.PageKernel):
    def prepare(self):
        self.shell.user_ns["prepared"] = True
        kernel.draw_once(self.shell)
        kernel.show_errors_without_ipython(self.shell)

    def rehearse(self):
        Path(os.environ["REHEARSED"]).write_text(str(os.sched_getscheduler(0)))

    def start_engine(self):
        Path(os.environ["REHEARSED"]).touch(exist_ok=False)


@contextmanager
def served():
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            agent.Agent(theirs.fileno(), Prepared.instance()).serve()
        finally:
            os._exit(1)  # or it would run the tests that follow
    theirs.close()
    page = Page(ours)
    page.order(order="start", channel=1)
    yield page
    page.order(order="end", channel=1)
    time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    ours.close()


@pytest.fixture(scope="module")
def page():
    """A page whose kernel has served other tests; it takes seconds to start."""
    with served() as page:
        yield page


@pytest.fixture
def new_page(tmp_path, monkeypatch):
    monkeypatch.setenv("REHEARSED", str(tmp_path / "rehearsed"))
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / progress.FILE))
    with served() as page:
        yield page


def test_a_cell_prints_and_has_a_result_with_the_right_parent(new_page):
    request = new_page.run("print(1)\n2 + 2")
    heard = new_page.until("execute_reply", request)

    assert texts(heard) == "1\n"
    assert [m["content"]["data"]["text/plain"] for m in heard if "data" in m["content"]] == ["4"]
    assert {m["parent_header"]["msg_id"] for m in heard} == {request}


def test_cells_behind_one_that_failed_are_aborted_and_later_ones_run(page):
    failed, behind = page.run("1 / 0"), page.run("print('behind')")
    assert page.until("error", failed)
    assert page.until("execute_reply", behind)[-1]["content"]["status"] == "aborted"
    assert "later" in page.said("print('later')")


@pytest.mark.parametrize(
    "wait", ["import time; time.sleep(60)", "import asyncio\nawait asyncio.sleep(60)"]
)
def test_an_interrupt_ends_the_cell_and_not_the_kernel(page, wait):
    request = page.run(f"x = 7\nprint('waits')\n{wait}")
    page.until("stream", request)
    page.order(order="interrupt", channel=1)

    assert page.outcome(request)["content"]["status"] == "error"
    assert page.said("print(x)") == "7\n"


def test_input_is_asked_for_and_answered(page):
    request = page.run("print(input('name? '))")
    assert page.until("input_request", request)[-1]["content"]["prompt"] == "name? "
    page.request("input_reply", value="Ada")
    assert texts(page.until("execute_reply", request)) == "Ada\n"


def test_a_name_is_completed_without_jedi_which_would_read_for_half_a_minute(page):
    page.until("execute_reply", page.run("anchor_pid = 1"))
    asked = page.request("complete_request", code="print(anch", cursor_pos=10)
    assert page.until("complete_reply", asked)[-1]["content"]["matches"] == ["anchor_pid"]
    seen = page.run("import sys; print('parso' in sys.modules)")
    assert texts(page.until("execute_reply", seen)) == "False\n"


def test_an_error_shows_the_students_lines_and_none_of_ipythons(page):
    failed = page.run("def halve(x):\n    return x / 0\nhalve(1)")
    shown = "\n".join(page.until("error", failed)[-1]["content"]["traceback"])
    page.outcome(failed)
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert "halve(1)" in plain
    assert "return x / 0" in plain
    assert "run_code" not in plain


def test_a_thousand_messages_come_whole_and_in_order(page):
    said = page.said("for n in range(1000): print(n)")
    assert said.split() == [str(n) for n in range(1000)]
    page.said(f"len('{'x' * 100_000}')")
    page.until("status", page.run("1"))
    assert page.read_bytes <= page.sent_bytes


def test_comms_with_buffers_go_on_while_a_cell_waits(page):
    page.said(
        "import comm, asyncio\nhere = comm.create_comm(target_name='t')\nhad = asyncio.Event()\n"
        "def answer(m):\n"
        "    here.send({'size': len(m['buffers'][0])}, buffers=[b'ab'])\n"
        "    had.set()\n"
        "here.on_msg(answer)"
    )
    heard = page.run("print(here.comm_id)\nawait had.wait()")
    number = texts(page.until("stream", heard)).strip()
    head = {"msg_id": "m", "msg_type": "comm_msg", "session": "s"}
    content = {"comm_id": number, "data": {}}
    message = {"header": head, "parent_header": {}, "metadata": {}, "content": content}
    page._send(1, kernel.pack(message, [bytes(range(256)) * 300]))

    back = page.until("comm_msg")[-1]
    assert back["content"]["data"] == {"size": 76_800}
    assert bytes(back["buffers"][0]) == b"ab"
    states = [
        (message["parent_header"]["msg_id"], message["content"]["execution_state"])
        for message in [*page.until("execute_reply", heard), *page.until("status", heard)]
        if message["header"]["msg_type"] == "status"
    ]
    assert states == [("m", "idle"), (heard, "busy"), (heard, "idle")]


def test_a_kernel_that_ends_is_told_and_may_be_started_again(page):
    page.said("x = 1")
    page.order(order="start", channel=1)
    assert page.said("print('x' in globals())") == "False\n"


def test_no_history_is_kept(page):
    """Kernels are forks of one process: in a database they would be one session."""
    assert page.said("print(get_ipython().history_manager.enabled)") == "False\n"


def test_the_first_kernel_was_there_before_it_was_asked_for(new_page):
    for first in ("True", "False"):
        assert new_page.said("print('prepared' in globals())") == f"{first}\n"
        new_page.order(order="start", channel=1)


def test_what_notebooks_do_is_rehearsed_where_nobody_is_disturbed(new_page, tmp_path):
    new_page.order(order="rehearse")
    assert new_page.said("print(1)") == "1\n"
    told = tmp_path / "rehearsed"
    assert wait_until(lambda: told.exists() and told.read_text()) == str(os.SCHED_IDLE)


def test_it_is_told_whether_an_engine_was_started(new_page, tmp_path):
    for _ in range(2):
        new_page.order(order="engine")
    new_page.said("1")
    assert [words["status"] for words in new_page.told if "engine" in words] == [0, 1]
    assert (tmp_path / "rehearsed").exists()


COUNTED = """
from matplotlib import pyplot
from matplotlib.figure import Figure
real, drawn = Figure.draw, []
Figure.draw = lambda *args: (drawn.append(1), real(*args))
pyplot.plot([1, 2])
"""


def test_a_plot_is_drawn_once_and_shown(new_page):
    heard = new_page.until("execute_reply", new_page.run(COUNTED))
    shown = [m["content"]["data"] for m in heard if m["header"]["msg_type"] == "display_data"]
    assert ["image/png" in data for data in shown] == [True]
    assert new_page.said("print(len(drawn))") == "1\n"


def test_the_students_progress_is_given_and_told_when_it_has_grown(new_page):
    new_page.order(order="progress", text="{}\n")
    add = "with open(os.environ['LAB_PROGRESS'], 'a') as file: file.write('{1}\\n')"
    new_page.said(f"import os\n{add}")
    for size in (0, len("{}\n{1}\n")):
        new_page.order(order="progress", size=size)
    new_page.said("1")
    assert [words["progress"] for words in new_page.told if "progress" in words] == ["{}\n{1}\n"]


def test_files_are_packed_once_by_what_they_hold(tmp_path):
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/one").write_text("same")
    (root / "a/b/two").write_text("same")
    (root / "a/left.a").write_text("not this")
    (root / "link").symlink_to("a/one")
    pack.pack(root, tmp_path / "web", ("*.a",), lambda: None)

    listing = json.loads((tmp_path / "web/fs.json").read_text())
    (a, link) = sorted(listing["fsroot"])
    files = {entry[0]: entry for entry in a[6]}
    assert link[6] == "a/one"
    assert set(files) == {"b", "one"}
    assert files["one"][6] == files["b"][6][0][6]
    assert len(list((tmp_path / "web/files").iterdir())) == 1


def test_packages_that_are_missing_are_named_and_no_others(monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda tool: tool != "node")
    with pytest.raises(LabError, match=r"install nodejs( seabios)?$"):
        build.require_tools()
