"""The site, for everyone: no rule of WCAG 2.1 A or AA that axe-core knows is broken on a page."""

import pytest

from labsupport.course.catalogue import chapters
from labsupport.making import site
from tests.browser.accessibility import require_axe, violations

pytestmark = pytest.mark.browser
PAGES = ["index.html", *(each.file.replace(".ipynb", ".html") for each in chapters())]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    require_axe()
    pytest.importorskip("jupyter_book", reason="needs jupyter-book (./lab test installs it)")
    folder = tmp_path_factory.mktemp("site") / "site"
    site.build(folder, "https://github.com/someone/course")
    return folder.as_uri()


@pytest.mark.thorough
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_can_be_used_by_everyone(address, running_chromium, theme):
    context = running_chromium.new_context(color_scheme=theme)
    page = context.new_page()
    found = {}
    for name in PAGES:
        page.goto(f"{address}/{name}", wait_until="domcontentloaded")
        page.wait_for_timeout(300)
        found[name] = violations(page, "body")
    context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
