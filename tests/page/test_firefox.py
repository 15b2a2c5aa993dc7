"""The built page in Firefox, driven by its own WebDriver BiDi: https://w3c.github.io/webdriver-bidi.

Playwright would bring a Firefox of its own; this is the one that a student has.
"""

import json
import os
import shutil
import subprocess
from contextlib import closing, contextmanager
from itertools import count

import pytest
import websocket

from tests.browser.page import READY
from tests.page.test_browser import EXECUTE, RUN_ALL, SITE, served
from tests.waiting import wait_until

FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="./lab page has not been run"),
    pytest.mark.skipif(FIREFOX is None, reason="no Firefox: sudo apt-get install firefox-esr"),
]
PREFERENCES = """
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("services.settings.server", "data:,none");
user_pref("app.normandy.enabled", false);
"""
SECONDS = 900
UNTIL = (
    "new Promise(done => {{ const look = () => ({})() ? done() : setTimeout(look, 200); look(); }})"
)
# Without a window nothing has the focus, and JupyterLab no current notebook.
FOCUS = """() => [...window.jupyterapp.shell.widgets('main')]
  .forEach(notebook => void notebook.node.dispatchEvent(new FocusEvent('focus')))"""


class Firefox:
    """A tab of a Firefox without a window."""

    def __init__(self, address):
        self.socket = websocket.create_connection(
            f"{address}/session", timeout=SECONDS, suppress_origin=True, max_size=None
        )
        self.numbers = count(1)
        self.ask("session.new", capabilities={})
        self.tab = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method, **params):
        """Send a command and return its result; what happens meanwhile is not listened to."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass
        assert answer["type"] == "success", f"{method}: {answer}"
        return answer["result"]

    def open(self, address):
        self.ask("browsingContext.navigate", context=self.tab, url=address, wait="complete")
        self.until("() => document.querySelector('.jp-Notebook')")
        self.evaluate(FOCUS)
        self.until(READY)

    def evaluate(self, function, *words):
        """Call a JavaScript function with texts, and return its result, as JSON has it."""
        call = f"({function})({', '.join(map(json.dumps, words))})"
        answer = self.ask(
            "script.evaluate",
            expression=f"Promise.resolve({call}).then(found => JSON.stringify(found ?? null))",
            target={"context": self.tab}, awaitPromise=True,
        )  # fmt: skip
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def until(self, function):
        """Wait until a JavaScript function returns what counts as true."""
        self.evaluate("() => " + UNTIL.format(function))


@contextmanager
def firefox(folder):
    """Run Firefox with a new profile in a folder, and yield it."""
    (folder / "user.js").write_text(PREFERENCES)
    argv = [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile"]
    told = folder / "WebDriverBiDiServer.json"
    with (folder / "log").open("w") as log:
        env = {**os.environ, "HOME": str(folder)}
        process = subprocess.Popen([*argv, str(folder)], stdout=log, stderr=log, env=env)
    try:
        wait_until(lambda: told.exists() and told.read_text().endswith("}"), 120)
        tab = Firefox("ws://127.0.0.1:{ws_port}".format(**json.loads(told.read_text())))
        with closing(tab.socket):
            yield tab
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with firefox(tmp_path_factory.mktemp("firefox")) as running:
        yield running


@pytest.fixture(scope="module")
def address():
    with served(SITE) as address:
        yield address


def test_back_turns_the_machine_back(tab, address):
    tab.open(f"{address}lab/index.html?path=00_start_here.ipynb")
    tab.evaluate(EXECUTE, "y = 1")
    tab.until("() => window.labMachine.now")
    tab.evaluate(EXECUTE, "y = 2")
    tab.evaluate("() => window.labMachine.back()")
    assert tab.evaluate(EXECUTE, "print(y)") == "1\n"


def test_a_whole_notebook_runs(tab, address):
    tab.open(f"{address}lab/index.html?path=02_pid_namespaces.ipynb")
    assert tab.evaluate(RUN_ALL) == []
