"""The built page in Chromium, served below a path, as a course would: `./lab page` first."""

import json
import os
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.accessibility import require_axe, violations
from tests.browser.page import READY, UNNAMED_PICTURES, NotebookPage, browser, chromium
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
SHOW = """async source => {
  const { commands, shell } = window.jupyterapp;
  await commands.execute('notebook:insert-cell-below');
  shell.currentWidget.content.activeCell.model.sharedModel.setSource(source);
  await commands.execute('notebook:run-cell');
}"""
RUN_ALL = """async () => {
  const { commands, shell } = window.jupyterapp;
  await commands.execute('notebook:run-all-cells'); // which ends at an error, also an expected one
  const { kernel } = shell.currentWidget.sessionContext.session;
  await kernel.requestExecute({ code: "" }).done; // behind all others
  const code = shell.currentWidget.content.widgets.filter(cell => cell.model.type === "code");
  return code.flatMap(({ model }) => {
    const expected = model.getMetadata("tags")?.includes("raises-exception");
    const errors = model.outputs.toJSON().filter(out => out.output_type === "error" && !expected);
    const ran = model.executionCount || !model.sharedModel.getSource().trim();
    const said = [...errors.map(out => out.evalue), ...ran ? [] : ["was not run"]];
    return said.map(each => [model.id, each]);
  });
}"""  # what went wrong: each cell's id, and what was said
BAR = "() => window.labMachine?.bar.textContent ?? ''"


class Below(SimpleHTTPRequestHandler):
    """Serves the site below `/course/`; `refused` are words of addresses that fail.

    What contains `fails_once` fails as soon as it is asked for, once.
    """

    refused = ()
    fails_once = ""
    facts_may_come = threading.Event()
    facts_may_come.set()

    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/course"))

    def do_GET(self):
        if any(word in self.path for word in self.refused):
            return self.send_error(503)
        if Below.fails_once and Below.fails_once in self.path:
            Below.fails_once = ""
            return self.send_error(503)
        if "machine.json" in self.path:
            self.facts_may_come.wait(300)
        return super().do_GET()

    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Below, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/course/"
        server.shutdown()


@pytest.fixture(scope="module")
def address():
    with served(SITE) as address:
        yield address


@pytest.fixture(scope="module")
def running():
    with browser() as found:
        yield found


@contextmanager
def opened(running, address, name, ready=True, script="", quota_bytes=None):
    context = running.new_context(viewport={"width": 1280, "height": 1600})
    context.add_init_script(script)
    page = NotebookPage(context.new_page(), Path(name))
    page.asked = []
    context.on("request", lambda request: page.asked.append(request.url))
    if quota_bytes:
        quota = {"origin": address.removesuffix("/course/"), "quotaSize": quota_bytes}
        context.new_cdp_session(page.page).send("Storage.overrideQuotaForOrigin", quota)
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


BURST = """async codes => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const said = codes.map(() => "");
  await Promise.all(codes.map((code, at) => {
    const future = kernel.requestExecute({ code });
    future.onIOPub = ({ content }) => void (said[at] += content.text ?? "");
    return future.done;
  }));
  return said;
}"""


def test_no_message_of_a_burst_is_lost(start):
    long = "#" * 5000
    codes = [f"print({number})  {long if number % 10 == 0 else ''}" for number in range(100)]
    assert start.page.evaluate(BURST, codes) == [f"{number}\n" for number in range(100)]


def test_input_is_answered_by_the_reader(start):
    assert "Ada!" in start.page.evaluate(EXECUTE, "print(input('who? ') + '!')")


def test_back_and_fresh_turn_the_machine_back(start):
    run = partial(start.page.evaluate, EXECUTE)
    began = float(
        run("import time; open('/tmp/kept', 'w').close(); y = 1; print(time.monotonic())")
    )
    start.page.wait_for_function("() => window.labMachine.now", timeout=300_000)
    run("import os; os.remove('/tmp/kept'); y = 2")
    start.page.evaluate("() => window.labMachine.back()")
    assert run("import os; print(y, os.path.exists('/tmp/kept'))") == "1 True\n"
    assert float(run("print(time.monotonic())")) > began, "the clock went back with it"
    start.page.evaluate("() => window.labMachine.fresh()")
    assert "NameError" in run("y")


CLASSES = "import subprocess; print(subprocess.getoutput('ps -eo cls,args'))"


def test_a_fresh_machine_rehearses_while_nobody_runs_a_cell(start):
    start.page.evaluate("() => window.labMachine.fresh()")
    start.page.wait_for_function("() => !window.labMachine.cold", timeout=300_000)
    said = start.page.evaluate(EXECUTE, CLASSES)
    assert "IDL python3 -m labsupport.page.agent" in said


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


def test_a_worker_that_could_not_be_loaded_is_asked_for_again(running, address, monkeypatch):
    """When the network changes, Chromium gives up what it is fetching."""
    monkeypatch.setattr(Below, "fails_once", "/v86/libv86.mjs")
    with opened(running, address, "00_start_here.ipynb") as page:
        assert page.page.evaluate(EXECUTE, "print(6 * 7)") == "42\n"
    assert not Below.fails_once


ENGINE = "import os; print(os.path.exists('/run/labsupport/engine/docker.sock'))"


@pytest.mark.parametrize(
    ("name", "states"), [("00_start_here.ipynb", 1), ("09_images_and_dockerfiles.ipynb", 2)]
)
def test_docker_comes_with_the_notebooks_on_it_only(running, address, name, states):
    with opened(running, address, name) as page:
        asked = {url for url in page.asked if "/machine/state/" in url}
        assert len(asked) == states
        for _ in range(2):
            assert page.page.evaluate(EXECUTE, ENGINE) == f"{states == 2}\n"
            page.page.reload()
            page.page.wait_for_function(READY, timeout=300_000)


def test_without_dockers_part_the_machine_starts_and_says_so(running, address, monkeypatch):
    made = json.loads((SITE / "extensions/lab-page/static/machine/machine.json").read_text())
    monkeypatch.setattr(Below, "refused", (made["engine"]["url"],))
    with opened(running, address, "09_images_and_dockerfiles.ipynb") as page:
        page.page.get_by_text("Docker starts when a cell first asks").first.wait_for()
        assert page.page.evaluate(EXECUTE, ENGINE) == "False\n"


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


def test_it_starts_even_if_jupyterlab_is_there_before_the_machines_facts(
    running, address, monkeypatch
):
    monkeypatch.setattr(Below, "facts_may_come", late := threading.Event())
    with opened(running, address, "00_start_here.ipynb", ready=False) as page:
        page.page.wait_for_function("() => window.labMachine", timeout=300_000)
        late.set()
        page.page.wait_for_function(READY, timeout=300_000)


HURRIED = """{
  const { timeout } = AbortSignal; // a browser in which two seconds have always passed
  AbortSignal.timeout = ms => timeout.call(AbortSignal, ms > 2000 ? ms : 0);
}"""
LIVE = """from labsupport.figure.live import LivePicture
picture = LivePicture(status="it was shown")
display(picture)"""


def test_a_widget_that_takes_long_to_begin_is_told_of_changes(running, address):
    with opened(running, address, "00_start_here.ipynb", script=HURRIED) as page:
        page.page.evaluate(SHOW, LIVE)
        page.page.get_by_text("it was shown", exact=True).wait_for(timeout=300_000)
        page.page.evaluate(EXECUTE, "picture.status = 'it has changed'")
        page.page.get_by_text("it has changed", exact=True).wait_for(timeout=60_000)


SHOWN = "() => window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length"


def test_a_page_that_is_loaded_again_at_once_shows_its_notebook(running, address):
    with opened(running, address, "00_start_here.ipynb", ready=False) as page:
        page.page.wait_for_function(SHOWN, timeout=300_000)
        page.page.reload()
        page.page.wait_for_function(READY, timeout=300_000)
        assert page.page.evaluate(f"() => {PATH}") == "00_start_here.ipynb"


def test_the_first_page_leads_to_the_first_notebook(running, address):
    require_axe()
    context = running.new_context()
    page = context.new_page()
    page.goto(address)
    assert violations(page, "body") == []
    page.get_by_role("link", name="Start", exact=True).click()
    opened_path = "window.jupyterapp?.shell.currentWidget?.context?.path"
    page.wait_for_function(f"() => {opened_path} === '00_start_here.ipynb'", timeout=300_000)
    context.close()


def test_a_notebook_is_not_changed_by_being_opened_and_its_pictures_have_words(start, address):
    assert not start.page.evaluate(f"() => {PATH.replace('path', 'model.dirty')}")
    assert start.page.evaluate(UNNAMED_PICTURES) == []


def test_what_we_add_to_jupyterlab_can_be_used_by_everyone(start):
    require_axe()
    start.page.evaluate("() => window.labMachine.say('The machine is starting …', 0.5)")
    assert violations(start.page, "[role=status]", passes=1) == []
    start.page.evaluate("() => window.labMachine.say('')")


@pytest.mark.parametrize(
    ("facts", "says"),
    [("connection: {value: {saveData: true}}", "MB, once"), ("deviceMemory: {value: 1}", "1 GB")],
)
def test_the_reader_is_asked_before_it_costs_money_or_the_tab(running, address, facts, says):
    script = f"Object.defineProperties(Navigator.prototype, {{{facts}}})"
    with opened(running, address, "00_start_here.ipynb", ready=False, script=script) as page:
        dialogue = page.page.locator(".jp-Dialog", has_text=says)
        dialogue.get_by_role("button", name="Only Read").click(timeout=300_000)
        page.page.wait_for_function(f"() => ({BAR})().includes('saved elsewhere')")
        assert not [url for url in page.asked if "/machine/state/" in url]


def test_a_full_storage_is_said(running, address):
    with opened(running, address, "00_start_here.ipynb", quota_bytes=4_000_000) as page:
        page.page.get_by_text("storage is full").first.wait_for(timeout=60_000)
        assert page.page.evaluate(EXECUTE, "print(6 * 7)") == "42\n"


def test_a_kernel_is_restarted_from_the_menu(start):
    start.page.evaluate(EXECUTE, "w = 1")
    start.page.evaluate("() => void window.jupyterapp.commands.execute('kernelmenu:restart')")
    start.page.locator(".jp-Dialog button.jp-mod-accept").click()
    start.page.wait_for_function(READY, timeout=300_000)
    assert "NameError" in start.page.evaluate(EXECUTE, "w")


NOTE = "from labsupport.course import progress; progress.note('prediction', question='q')"


def test_progress_outlives_the_machine_and_the_visit(running, address):
    with opened(running, address, "00_start_here.ipynb") as page:
        page.page.evaluate(EXECUTE, NOTE)
        page.page.wait_for_function("() => window.labMachine.progress.length", timeout=60_000)
        page.page.evaluate("() => window.labMachine.fresh()")
        many = "from labsupport.course import progress; print(len(progress.events()))"
        assert page.page.evaluate(EXECUTE, many) == "1\n"
        page.page.reload()
        page.page.wait_for_function(READY, timeout=300_000)
        assert page.page.evaluate(EXECUTE, many) == "1\n"
        page.page.locator(".jp-DirListing-content").get_by_text("my_progress.jsonl").wait_for(
            timeout=60_000
        )
