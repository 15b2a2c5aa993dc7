"""What all pictures share: words stay as they are written."""

from labsupport.figure.page import Page
from tests.figure import sheet


def test_what_is_foreign_is_text_on_a_page():
    foreign = "<b>&amp; $x$ 'q' \x1b[1m \x00 \udce4"
    page = Page(10, foreign)
    page.show(foreign, [("a",), (foreign,)])
    shown = foreign.translate(dict.fromkeys((0x1B, 0, 0xDCE4), "\ufffd"))
    assert sheet.texts(page) == [shown]
