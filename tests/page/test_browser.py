"""The built page in Chromium, served below a path, as a course would: `./lab page` first."""

import os
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.page import READY, NotebookPage, browser, chromium
from tests.toys import CHECKOUT

SITE = Path(os.environ.get("LAB_PAGE_FOLDER", CHECKOUT / "build/page"))
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="./lab page has not been run"),
    pytest.mark.skipif(chromium() is None, reason="no Chromium"),
]
EXECUTE = """async code => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, allow_stdin: true });
  let text = (window.said = "");
  future.onIOPub = ({ content }) => {
    window.said = text += content.text ?? content.data?.["text/plain"] ?? content.ename ?? "";
  };
  future.onStdin = message => kernel.sendInputReply({ value: "Ada", status: "ok" }, message.header);
  await future.done;
  return text;
}"""
BAR = "() => window.labMachine?.bar.textContent ?? ''"


class Below(SimpleHTTPRequestHandler):
    """Serves the site below `/course/`; `refused` are words of addresses that fail."""

    refused = ()

    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/course"))

    def do_GET(self):
        if any(word in self.path for word in self.refused):
            return self.send_error(503)
        return super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Below, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/course/"
    server.shutdown()


@pytest.fixture(scope="module")
def running():
    with browser() as found:
        yield found


@contextmanager
def opened(running, address, name, ready=True):
    context = running.new_context(viewport={"width": 1280, "height": 1600})
    page = NotebookPage(context.new_page(), Path(name))
    page.asked = []
    context.on("request", lambda request: page.asked.append(request.url))
    page.page.goto(f"{address}lab/index.html?path={name}")
    if ready:
        page.page.wait_for_function(READY, timeout=300_000)
    try:
        yield page
    finally:
        context.close()


@pytest.fixture(scope="module")
def start(running, address):
    with opened(running, address, "00_start_here.ipynb") as page:
        yield page


def test_nothing_is_fetched_from_elsewhere(start, address):
    assert start.page.evaluate(EXECUTE, "print(6 * 7)") == "42\n"
    ours = (address, "blob:", "data:")
    left = [url for url in start.asked if not url.startswith(ours)]
    # what JupyterLite asks its service worker, which answers by itself
    assert {url.rpartition("/")[2] for url in left} <= {"service-worker-heartbeat"}


def test_an_interrupt_ends_the_cell_only(start):
    start.page.evaluate("code => void (window.run = " + f"({EXECUTE})(code))",
                        "x = 7; import time; print('waits'); time.sleep(600)")  # fmt: skip
    start.page.wait_for_function("() => window.said.includes('waits')", timeout=300_000)
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    start.page.evaluate(f"() => {kernel}.interrupt()")
    assert "KeyboardInterrupt" in start.page.evaluate("() => window.run")
    assert start.page.evaluate(EXECUTE, "print(x)") == "7\n"


def test_input_is_answered_by_the_reader(start):
    assert "Ada!" in start.page.evaluate(EXECUTE, "print(input('who? ') + '!')")


def test_back_and_fresh_turn_the_machine_back(start):
    run = partial(start.page.evaluate, EXECUTE)
    run("open('/tmp/kept', 'w').close(); y = 1")
    start.page.wait_for_function("() => window.labMachine.now", timeout=300_000)
    run("import os; os.remove('/tmp/kept'); y = 2")
    start.page.evaluate("() => window.labMachine.back()")
    assert run("import os; print(y, os.path.exists('/tmp/kept'))") == "1 True\n"
    start.page.evaluate("() => window.labMachine.fresh()")
    assert "NameError" in run("y")


KILLED = """
import glob, os, subprocess, time
for path in filter(os.path.isfile, sorted(glob.glob("/usr/lib/i386-linux-gnu/*"))[:300]):
    reader = subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
    time.sleep(0.004)
    reader.kill(), reader.wait()
for _ in range(30):
    subprocess.run(["unshare", "--net", "true"])
print("BUG" in subprocess.run(["dmesg"], capture_output=True, text=True).stdout)
"""


def test_who_is_killed_while_a_file_comes_harms_nobody(start):
    """The file's content must not be written into memory that has been given back."""
    assert start.page.evaluate(EXECUTE, KILLED) == "False\n"


def test_a_second_notebook_has_a_python_of_its_own(start):
    start.page.evaluate(EXECUTE, "z = 3")
    start.page.evaluate(
        "() => window.jupyterapp.commands.execute('docmanager:open',"
        " {path: '02_pid_namespaces.ipynb'})"
    )
    start.page.wait_for_function(f"() => ({READY})() && {PATH}.startsWith('02')", timeout=300_000)
    assert "NameError" in start.page.evaluate(EXECUTE, "z")


PATH = "window.jupyterapp.shell.currentWidget.context.path"


@pytest.mark.parametrize(
    ("word", "says"), [("/machine/state/", "503"), ("machine.json", "network")]
)
def test_a_failed_download_is_said(running, address, word, says, monkeypatch):
    monkeypatch.setattr(Below, "refused", (word,))
    with opened(running, address, "00_start_here.ipynb", ready=False) as page:
        page.page.wait_for_function(f"says => ({BAR})().includes(says)", arg=says, timeout=300_000)
        assert "What to do" in page.page.evaluate(BAR)


def test_a_worker_that_was_ended_is_said(running, address):
    with opened(running, address, "00_start_here.ipynb") as page:
        page.page.evaluate("() => window.labMachine.worker.terminate()")
        page.page.wait_for_function(f"() => ({BAR})().includes('does not answer')", timeout=300_000)


def test_after_the_first_visit_no_network_is_needed(running, address):
    with opened(running, address, "00_start_here.ipynb") as page:
        page.page.wait_for_function("() => window.labMachine.offline", timeout=300_000)
        page.page.context.set_offline(True)
        page.page.reload()
        page.page.wait_for_function(READY, timeout=300_000)
        assert page.page.evaluate(EXECUTE, "print(6 * 7)") == "42\n"
