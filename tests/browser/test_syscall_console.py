"""The syscall grid in Chromium, by pointer and by keys, without a notebook around it."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from labsupport import Filter
from labsupport.views import syscall_console, syscall_grid
from labsupport.views.syscall_console import as_data

pytestmark = pytest.mark.browser

# stands for anywidget's model; the widget's module is loaded as it is
HARNESS = """
const data = %s;
const url = URL.createObjectURL(new Blob([%s], { type: 'text/javascript' }));
const model = { get: () => data, on() {}, set() {}, save_changes() {} };
window.ready = import(url).then(m => m.default.render({ model, el: document.body }));
"""
WHO = {
    "this notebook": Filter(()).verdicts(),
    "filtered": Filter.deny(["mount", "reboot", "umount2"], "EACCES").verdicts(),
}


@pytest.fixture
def page(running_chromium: Browser) -> Iterator[Page]:
    page = running_chromium.new_page(viewport={"width": 900, "height": 900})
    page.set_content("<body></body>")
    page.add_style_tag(path=syscall_console.HERE / "syscall_console.css")
    module = (syscall_console.HERE / "syscall_console.js").read_text()
    page.add_script_tag(content=HARNESS % (json.dumps(as_data(WHO)), json.dumps(module)))
    page.evaluate("() => window.ready")
    yield page
    page.close()


def square(page, name):
    return page.locator(f"[data-name={name}]")


def test_every_call_is_a_square_with_its_verdict_as_a_word(page):
    assert page.locator("[role=gridcell]").count() == len(WHO["filtered"])
    page.get_by_role("combobox", name="process").select_option("filtered")
    assert square(page, "mount").get_attribute("aria-label") == "mount: refused with EACCES"
    assert "denied" in square(page, "mount").get_attribute("class")
    assert square(page, "read").get_attribute("class") == "allowed"


def test_the_title_is_the_finding_of_the_process(page):
    total = len(WHO["filtered"])
    assert page.locator("h4").inner_text() == (
        f"this notebook: none of {total} system calls is refused"
    )
    page.get_by_role("combobox", name="process").select_option("filtered")
    assert page.locator("h4").inner_text() == f"filtered: 3 of {total} system calls are refused"


def test_hovering_tells_the_name_and_the_reason_for_every_process(page):
    square(page, "reboot").hover()
    said = page.locator("[role=status]").inner_text()
    assert "reboot (number" in said
    assert "this notebook\tallowed" in said
    assert "filtered\trefused with EACCES" in said


def test_arrow_keys_walk_through_the_grid(page):
    square(page, "read").click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.name") == "write"
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.getBoundingClientRect().top")
    assert below > square(page, "write").bounding_box()["y"]
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.dataset.name") == "write"
    page.keyboard.press("End")
    assert "machine" in page.locator("[role=status]").inner_text()
    assert page.locator("[tabindex='0']").count() == 1  # one stop for the tabulator key


def test_filters_put_others_aside_and_the_keys_skip_them(page):
    page.get_by_role("combobox", name="process").select_option("filtered")
    page.get_by_role("combobox", name="show").select_option("refused")
    assert page.locator("[role=gridcell]:not(.aside)").count() == 3
    square(page, "mount").click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.name") == "umount2"
    assert page.locator("tbody th[scope=row]", has_text="read").count() == 0


def test_what_differs_between_processes_is_found(page):
    page.get_by_role("combobox", name="show").select_option("different")
    names = page.locator("[role=gridcell]:not(.aside)").evaluate_all(
        "cells => cells.map(cell => cell.dataset.name)"
    )
    assert set(names) == {"mount", "reboot", "umount2"}


def test_a_call_is_found_by_its_name(page):
    page.get_by_role("searchbox", name="name").fill("mkdir")
    assert page.locator("[role=gridcell]:not(.aside)").count() == 2
    page.locator("summary").click()
    assert page.locator(".scroll tbody tr").count() == 2


def test_nothing_sticks_out_of_the_figure(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wide = page.locator("figure").bounding_box()["width"]
    assert wide <= 860


def test_it_says_at_first_how_to_use_it_and_a_place_is_the_same_as_in_the_picture(page):
    assert "arrow keys" in page.locator("[role=status]").inner_text()
    tops = (
        page.locator(".cells")
        .first.locator("[role=gridcell]")
        .evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().top)")
    )
    assert tops.index(next(top for top in tops if top > tops[0])) == syscall_grid.COLUMNS
