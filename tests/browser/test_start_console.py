"""The console of ENTRYPOINT and CMD in Chromium, without a notebook around it."""

import json

import pytest
from playwright.sync_api import Page

from labsupport.build import starts

pytestmark = pytest.mark.browser

# stands for anywidget's model; the widget's module is loaded as it is
HARNESS = """
const data = %s;
data.png = new Uint8Array([137, 80, 78, 71]);
const url = URL.createObjectURL(new Blob([%s], { type: 'text/javascript' }));
window.sent = [];
window.keys = [];
window.on = {};
window.change = (name, value) => { data[name] = value; window.on['change:' + name](); };
const model = { get: (name) => data[name], on: (name, act) => { window.on[name] = act; },
  send: (message) => window.sent.push(message) };
document.body.addEventListener('keydown', (event) => window.keys.push(event.key));
window.ready = import(url).then(m => {
  const el = document.createElement('div');
  document.body.append(el);
  m.default.render({ model, el });
});
"""
DATA = {
    "choices": {"entrypoints": ["none", '["greet", "Hello"]'], "cmds": ['["world"]', "world"]},
    "chosen": {"entrypoint": 1, "cmd": 0, "typed": "Pavlos"},
    "alt": "Arguments take CMD's place.", "status": "", "busy": False, "width": 860,
}  # fmt: skip


@pytest.fixture
def page(running_chromium):
    page: Page = running_chromium.new_page(viewport={"width": 900, "height": 600})
    page.set_content("<body></body>")
    page.add_style_tag(path=starts.HERE / "start_console.css")
    module = starts.StartWidget._esm
    page.add_script_tag(content=HARNESS % (json.dumps(DATA), json.dumps(module)))
    page.evaluate("() => window.ready")
    yield page
    page.close()


def test_every_control_has_a_name_and_the_picture_its_words(page):
    assert page.get_by_role("combobox", name="ENTRYPOINT").input_value() == "1"
    assert page.get_by_role("combobox", name="CMD").input_value() == "0"
    assert page.get_by_role("textbox", name="arguments").input_value() == "Pavlos"
    assert page.get_by_role("button", name="docker run").is_enabled()
    assert page.get_by_role("img").get_attribute("alt") == DATA["alt"]


def test_pressing_sends_what_is_chosen_and_typed(page):
    page.get_by_role("combobox", name="CMD").select_option("world")
    page.get_by_role("textbox").fill("a 'b c'")
    page.get_by_role("button").click()
    assert page.evaluate("window.sent") == [{"entrypoint": 1, "cmd": 1, "typed": "a 'b c'"}]


def test_enter_in_the_line_runs_and_no_key_leaves_the_console(page):
    page.get_by_role("textbox").press("End")
    page.get_by_role("textbox").press("b")
    page.get_by_role("textbox").press("Enter")
    assert page.evaluate("window.sent")[0]["typed"] == "Pavlosb"
    assert page.evaluate("window.keys") == []


def test_a_run_is_told_while_it_lasts(page):
    page.evaluate("window.change('status', 'running …'); window.change('busy', true)")
    assert page.get_by_role("status").inner_text() == "running …"
    assert page.get_by_role("button").is_disabled()
    page.evaluate("window.change('busy', false)")
    assert page.get_by_role("button").is_enabled()
