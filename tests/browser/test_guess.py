"""A question's control in JupyterLab and without it, by keyboard alone (10 s)."""

import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ipywidgets.embed import embed_snippet
from playwright.sync_api import expect

from labsupport import predict
from labsupport.course.guess_widget import GuessWidget
from tests.toys import CHECKOUT, write_notebook

pytestmark = pytest.mark.browser

CELLS = [
    "%load_ext labsupport\nfrom labsupport import predict",
    'which = predict("Which one?", choices=["the first", "the second"])\nwhich',
    'many = predict("How many?", within=0.1, unit="ms")\nmany',
    'print(which.guess, many.guess)\nwhich.beside("the second", says="the kernel")',
]


def test_a_guess_is_made_by_keyboard_and_closed_by_the_answer(open_notebook, tmp_path):
    page = open_notebook(write_notebook(tmp_path / "guess.ipynb", *CELLS))
    for number in range(3):
        page.run(number)
    controls = page.page.locator("fieldset")
    which, many = controls.filter(has_text="Which"), controls.filter(has_text="How many")
    which.get_by_label("the first").focus()
    page.page.keyboard.press("ArrowDown")
    which.get_by_text("Noted: the second.").wait_for()
    page.page.keyboard.press("Tab")
    many.get_by_role("spinbutton").focus()
    page.page.keyboard.type("95")
    page.page.keyboard.press("Tab")
    many.get_by_text("Noted: 95.").wait_for()
    page.run(3)
    assert page.problems() == []
    answered = page.page.get_by_role("status").filter(has_text="as you said ✓")
    assert re.search("you: the second · the kernel: the second", answered.first.inner_text())
    expect(page.page.get_by_label("the first")).to_be_disabled()
    expect(page.page.locator(".jp-OutputArea").last).to_contain_text("the second 95")


NPM = CHECKOUT / "tests/node_modules"
FILES = {
    "/require.js": NPM / "requirejs/require.js",
    "/embed.js": NPM / "@jupyter-widgets/html-manager/dist/embed-amd.js",
    "/anywidget.js": Path(sys.prefix, "share/jupyter/nbextensions/anywidget/index.js"),
}
WITHOUT_JUPYTERLAB = """<!DOCTYPE html>
<style>:root {{ --vscode-foreground: rgb(204, 204, 204); background: #1f1f1f }}</style>
<script src="/require.js"></script>
<script>requirejs.config({{ paths: {{ anywidget: "/anywidget" }} }})</script>
<body>{}</body>
"""


@pytest.fixture
def page_without_jupyterlab(running_chromium):
    """A page as VS Code makes one: RequireJS, the widgets' own manager, anywidget's module."""
    if missing := [str(path) for path in FILES.values() if not path.exists()]:
        pytest.skip(f"needs npm install --prefix tests: {missing}")
    page = running_chromium.new_page()
    asked = []

    def answer(route):
        path = urlsplit(route.request.url).path
        asked.append(route.request.url)
        if path == "/":
            route.fulfill(body=page.content_to_show, content_type="text/html")
        elif path in FILES:
            route.fulfill(path=FILES[path], content_type="text/javascript")
        else:
            route.abort()

    page.route("**/*", answer)

    def show(*widgets):
        how = {"requirejs": False, "embed_url": "/embed.js", "cors": False}
        snippet = embed_snippet(widgets, drop_defaults=False, **how)  # the module is a default
        page.content_to_show = WITHOUT_JUPYTERLAB.format(snippet)
        page.goto("http://lab.test/")
        return page

    yield show
    page.close()
    assert {urlsplit(url).netloc for url in asked} == {"lab.test"}


def test_the_control_needs_no_jupyterlab(page_without_jupyterlab):
    which = GuessWidget(predict("Which one?", choices=["the first", "the second"]))
    many = GuessWidget(predict("How many?", within=0.1, unit="ms"))
    told = GuessWidget(predict("And this?", kind="yes/no"))
    told.answer = "you: yes · the kernel: yes"
    page = page_without_jupyterlab(which, many, told)
    page.get_by_label("the first").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("the second")).to_be_checked()
    page.get_by_role("spinbutton").fill("95")
    assert page.get_by_role("spinbutton").input_value() == "95"
    last = page.locator("fieldset").filter(has_text="And this?")
    expect(last).to_contain_text("the kernel: yes")
    expect(last.get_by_label("yes").first).to_be_disabled()
    colour = last.evaluate("element => getComputedStyle(element).color")
    assert colour == "rgb(204, 204, 204)"
