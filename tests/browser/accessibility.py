"""Ask axe-core what somebody with low vision, or without a mouse, cannot use on a page."""

import os

import pytest
from playwright.sync_api import Page

from tests.toys import CHECKOUT

AXE = CHECKOUT / "tests" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
ASK = """async ([where, rules]) => {
  // its shortcut is part of what the search button of the site's theme shows, not of its name
  const but = { 'label-content-name-mismatch': { enabled: false } };
  const told = await axe.run(where, { runOnly: rules, rules: but });
  return { checked: told.passes.length,
    wrong: told.violations.map(v => `${v.id} (${v.impact}), ${v.nodes.length} times: ` +
      v.nodes[0].html.slice(0, 150) + ' ' + v.nodes[0].failureSummary) };
}"""


def require_axe() -> None:
    """Skip without axe-core; in CI it must be there."""
    if AXE.exists():
        return
    lacking = "needs axe-core: npm install --prefix tests"
    (pytest.fail if os.environ.get("CI") else pytest.skip)(lacking)


def violations(page: Page, where: str, passes: int = 4) -> list[str]:
    """Return what breaks WCAG 2.1 A or AA in the parts of a page that a selector names."""
    page.evaluate(AXE.read_text())
    told = page.evaluate(ASK, [where, RULES])
    assert told["checked"] >= passes, "axe-core has looked at nothing"
    return told["wrong"]
