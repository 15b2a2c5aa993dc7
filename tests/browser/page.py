"""A notebook as a student sees it: in Chromium, run from top to bottom, looked at.

Wherever possible, JupyterLab's own objects are asked (`window.jupyterapp`), not its style sheets.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.browser.lab import Lab

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
STEADY = Path(__file__).with_name("steady.py")
WIDTH, HEIGHT = 1280, 1600
TALLEST = 16_000  # pixels; Chromium paints no more in one piece

READY = """() => {
  const panel = window.jupyterapp?.shell?.currentWidget;
  const kernel = panel?.sessionContext?.session?.kernel;
  return !!(panel?.content?.widgets?.length && panel.context.isReady
            && kernel?.status === 'idle' && kernel.connectionStatus === 'connected');
}"""
CLEAR = "() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')"
# A cell that is awaiting has no count yet, though it, and the kernel, may claim to be idle.
CELL_DONE = """number => {
  const cell = window.jupyterapp.shell.currentWidget.context.model.toJSON().cells[number];
  return cell.execution_count !== null;
}"""
CELLS = "() => window.jupyterapp.shell.currentWidget.context.model.toJSON().cells"
# JupyterLab itself writes alt="Image" where there is none.
UNNAMED_PICTURES = """() => [...document.querySelectorAll(
    '.jp-OutputArea img, .jp-OutputArea canvas, .jp-OutputArea svg[role=img]')]
  .filter(e => e.checkVisibility() && !e.closest('[aria-hidden=true]')
    && ['', 'Image', null].includes(e.getAttribute('alt'))
    && !e.getAttribute('aria-label') && !e.querySelector('title')?.textContent)
  .map(e => e.outerHTML.slice(0, 80))"""
PICTURES = """cell => JSON.stringify([...cell.querySelectorAll('img, svg')].map(
  e => [e.currentSrc ?? e.outerHTML, e.alt ?? '']))"""
RUN_ONE = """number => {
  const app = window.jupyterapp;
  app.shell.currentWidget.content.deselectAll();
  app.shell.currentWidget.content.activeCellIndex = number;
  window.ended = app.commands.execute('notebook:run-cell').then(() => true);
}"""
SCROLL_TO_TOP = """() => document.querySelectorAll('.jp-Notebook, .jp-Notebook *')
    .forEach(part => { if (part.scrollTop && part.clientHeight > 400) part.scrollTop = 0; })"""
FULL_HEIGHT = """() => Math.ceil(
  [...document.querySelectorAll('.jp-Notebook .jp-Cell')].reduce((sum, cell) =>
    sum + cell.getBoundingClientRect().height + 12, 0))"""
BROKEN_WIDGETS = ".jupyter-widgets-error-widget, .jp-OutputArea :text('Error displaying widget')"


def chromium() -> str | None:
    """Return the system's browser: `CHROMIUM`, or the first of Chromium's usual names."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run the system's Chromium without a window."""
    program = chromium()
    if program is None:
        raise RuntimeError("no Chromium or Chrome on the PATH; install chromium or set CHROMIUM")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=STEADY, args=["--disable-gpu"], env={**os.environ, "CHROMIUM": program}
        )
        try:
            yield running
        finally:
            running.close()


class NotebookPage:
    """One open notebook."""

    def __init__(self, page: Page, notebook: Path) -> None:
        self.page, self.notebook = page, notebook
        self.script_errors: list[str] = []
        page.on("pageerror", lambda error: self.script_errors.append(str(error)))

    def run(self, number: int, seconds: float = 60) -> str:
        """Run one cell, wait for its end, and return what it printed."""
        self.page.evaluate(RUN_ONE, number)
        self.page.wait_for_function("() => window.ended", timeout=seconds * 1000)
        self.page.wait_for_function(CELL_DONE, arg=number, timeout=seconds * 1000)
        return "".join("".join(each.get("text", "")) for each in self.cells()[number]["outputs"])

    def walk(self, seconds: float = 300, use_controls: bool = True) -> None:
        """Run cell after cell, as a student does, and use each named control when its turn comes.

        This stops at the first error, and at a control that does not change its picture.
        """
        self.page.evaluate(CLEAR)
        controls = dict(self.named_controls()) if use_controls else {}
        for number, cell in enumerate(self.cells()):
            if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
                continue
            self.run(number, seconds)
            if any(_in_cell(number, self.cells()[number])):
                break
            if number in controls:
                self.move(number, controls[number])
        self.page.wait_for_timeout(500)  # the last messages of widgets, and their painting

    def cells(self) -> list[dict[str, Any]]:
        """Return the notebook's cells as JupyterLab holds them now."""
        return self.page.evaluate(CELLS)

    def problems(self) -> list[str]:
        """Return what is wrong, in words; nothing after a good run."""
        found = [
            problem
            for number, cell in enumerate(self.cells())
            for problem in _in_cell(number, cell)
        ]
        if broken := self.page.locator(BROKEN_WIDGETS).count():
            found.append(f"{broken} widgets did not render")
        found += [
            f"no text alternative: {picture}" for picture in self.page.evaluate(UNNAMED_PICTURES)
        ]
        return found + [f"JavaScript: {error}" for error in self.script_errors]

    def named_controls(self) -> list[tuple[int, str]]:
        """Return cell number and label of each control that a cell's metadata names.

        `{"lab": {"control": "LABEL"}}` says: moving this control changes this cell's picture.
        """
        labs = [cell["metadata"].get("lab", {}) for cell in self.cells()]
        return [(number, lab["control"]) for number, lab in enumerate(labs) if "control" in lab]

    def move(self, number: int, label: str, seconds: float = 20) -> None:
        """Move a cell's slider or press its button; raise unless the cell's picture changes.

        A control of a live view works while its cell runs: such a cell is run once more, and its
        picture must change by itself before the control is used, and the cell must end after that.
        """
        self.page.set_default_timeout(seconds * 1000)
        outputs = self.page.locator(".jp-Notebook .jp-Cell").nth(number).locator(".jp-OutputArea")
        control = _control(outputs, label)
        is_live = not control.is_visible() or control.is_disabled()
        if is_live:
            self.page.evaluate(RUN_ONE, number)
            # a slider is not a form element: `:enabled` would never match it
            control.and_(self.page.locator(":not(:disabled)")).wait_for()
        before = outputs.first.evaluate(PICTURES)
        if is_live:
            self._wait_for_change(outputs, before)
        _use(control)
        if not is_live:
            self._wait_for_change(outputs, before)
        self.page.wait_for_function(CELL_DONE, arg=number)

    def _wait_for_change(self, outputs: Locator, before: str) -> None:
        changed = f"([cell, before]) => ({PICTURES})(cell) !== before"
        self.page.wait_for_function(changed, arg=[outputs.first.element_handle(), before])

    def screenshot(self, path: Path) -> None:
        """Save a picture of the whole notebook, from its first cell to its last."""
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        height = min(self.page.evaluate(FULL_HEIGHT) + 150, TALLEST)
        self.page.set_viewport_size({"width": WIDTH, "height": height})
        self.page.evaluate(SCROLL_TO_TOP)
        self.page.wait_for_timeout(300)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)


def _in_cell(number: int, cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code" or not source.strip():
        return
    if cell["execution_count"] is None:
        yield f"cell {number} was not run"
    if "raises-exception" in cell["metadata"].get("tags", []):
        return
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            yield f"cell {number}: {output['ename']}: {output['evalue']}"


def _control(outputs: Locator, label: str) -> Locator:
    """Find a control by its accessible name or by the words that ipywidgets puts next to it."""
    labelled = outputs.locator(".jupyter-widgets:has(> .widget-label)", has_text=label)
    slider = labelled.locator("[role=slider]")
    button = outputs.locator("button", has_text=label)
    return button.or_(outputs.get_by_label(label)).or_(slider).first


def _use(control: Locator) -> None:
    if control.evaluate("e => e.tagName") == "BUTTON":
        control.click()
    else:
        control.press("ArrowRight")


@contextmanager
def opened(
    running: Browser, lab: Lab, notebook: Path, kernel: str | None = None
) -> Iterator[NotebookPage]:
    """Open a notebook and wait for its kernel, or start the kernel of that name instead."""
    context = running.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce"
    )
    try:
        page = NotebookPage(context.new_page(), notebook)
        page.page.goto(lab.address(notebook), wait_until="domcontentloaded")
        _wait_for_kernel(page.page)
        if kernel:
            page.page.evaluate(
                "name => window.jupyterapp.shell.currentWidget.sessionContext.changeKernel({name})",
                kernel,
            )
            _wait_for_kernel(page.page)
        yield page
        page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    finally:
        context.close()


def _wait_for_kernel(page: Page, seconds: int = 120) -> None:
    """Wait until the kernel idles; take what the dialogue for an unknown kernelspec proposes."""
    accept = page.locator(".jp-Dialog button.jp-mod-accept")
    for _ in range(seconds * 10):
        if page.evaluate(READY):
            return
        if accept.count() and "Select Kernel" in (
            page.locator(".jp-Dialog").first.text_content() or ""
        ):
            accept.first.click()
        page.wait_for_timeout(100)
    raise TimeoutError(f"no idle kernel within {seconds} s")
