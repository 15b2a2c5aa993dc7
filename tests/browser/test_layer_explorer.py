"""The layer explorer in Chromium, by pointer and by keys, without a notebook around it."""

import json

import pytest
from playwright.sync_api import expect

from labsupport.image import layer_explorer
from labsupport.image.layer_explorer import as_data
from tests.image.samples import TWO

pytestmark = pytest.mark.browser

# stands for anywidget's model; the widget's module is loaded as it is
HARNESS = """
const values = { data: %s, selected: { image: 0, layer: 0 } };
const listeners = [];
const url = URL.createObjectURL(new Blob([%s], { type: 'text/javascript' }));
window.model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; listeners.forEach((each) => each()); },
  on: (event, listener) => listeners.push(listener), save_changes() {},
};
window.ready = import(url).then(m => m.default.render({ model: window.model, el: document.body }));
"""


@pytest.fixture
def page(running_chromium):
    page = running_chromium.new_page(viewport={"width": 960, "height": 900})
    page.set_content("<body></body>")
    page.add_style_tag(path=layer_explorer.HERE / "layer_explorer.css")
    module = layer_explorer.LayerWidget._esm
    shown = as_data(TWO)
    page.add_script_tag(content=HARNESS % (json.dumps(shown), json.dumps(module)))
    page.evaluate("() => window.ready")
    yield page
    page.close()


def layer(page, number, of="mine"):
    stack = page.get_by_role("listbox", name=f"layers of {of}")
    return stack.get_by_role("option", name=f"Layer {number},")


def said(page):
    return page.get_by_role("status").inner_text()


def chosen(page):
    return page.evaluate("() => window.model.get('selected')")


def test_every_layer_is_an_option_with_its_words(page):
    assert page.get_by_role("option").count() == 6
    words = layer(page, 2).get_attribute("aria-label")
    assert words == "Layer 2, RUN make: 7 kB, 7 kB wasted, in both"


def test_the_layers_that_both_have_stand_at_the_same_height(page):
    for number in (1, 2):
        left, right = (
            layer(page, number).bounding_box(),
            layer(page, number, "other").bounding_box(),
        )
        assert left["y"] == right["y"]
    joints = page.locator(".joints span:not(.none)")
    assert joints.all_inner_texts() == ["same", "same"]
    middle = joints.last.bounding_box()
    row = layer(page, 1).bounding_box()
    assert abs(middle["y"] + middle["height"] / 2 - row["y"] - row["height"] / 2) < 3


def test_clicking_a_layer_tells_what_it_did(page):
    layer(page, 3).click()
    assert chosen(page) == {"image": 0, "layer": 3}
    assert "0 names added, 1 changed, 1 deleted" in said(page)
    rows = page.get_by_role("region").get_by_role("row").all_inner_texts()
    assert any("/cache" in row and "6 kB" in row for row in rows)


def test_a_file_that_nobody_sees_any_more_says_who_hides_it(page):
    layer(page, 2).click()
    rows = page.get_by_role("region").get_by_role("row").all_inner_texts()
    assert any("/cache" in row and "no: layer 3 hides it" in row for row in rows)
    assert "it is stored once" in said(page)


def test_arrow_keys_walk_through_both_stacks(page):
    layer(page, 3).click()
    page.keyboard.press("ArrowDown")
    assert chosen(page) == {"image": 0, "layer": 2}
    page.keyboard.press("ArrowRight")
    assert chosen(page) == {"image": 1, "layer": 2}
    page.keyboard.press("Home")
    expect(layer(page, 3, "other")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    assert chosen(page) == {"image": 1, "layer": 1}


def test_the_keyboard_alone_gets_there(page):
    page.keyboard.press("Tab")
    expect(layer(page, 3)).to_be_focused()
    page.keyboard.press("Enter")
    assert chosen(page) == {"image": 0, "layer": 3}


def test_the_list_can_be_narrowed_to_a_part_of_a_path(page):
    layer(page, 2).click()
    page.get_by_role("searchbox").fill("lib")
    rows = page.get_by_role("region").locator("tbody tr").all_inner_texts()
    assert len(rows) == 1
    assert "/lib" in rows[0]


def test_python_can_choose_too(page):
    page.evaluate("() => window.model.set('selected', { image: 1, layer: 3 })")
    expect(layer(page, 3, "other")).to_have_attribute("aria-selected", "true")
    assert "COPY" in said(page)


def test_what_is_typed_does_not_reach_the_notebook(page):
    page.evaluate(
        "() => { window.heard = []; document.addEventListener("
        "'keydown', (event) => window.heard.push(event.key)); }"
    )
    layer(page, 2).click()
    page.keyboard.press("ArrowUp")
    page.get_by_role("searchbox").press("a")
    assert page.evaluate("() => window.heard") == []
