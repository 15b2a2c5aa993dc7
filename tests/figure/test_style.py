"""What all pictures share: words stay as they are written."""

import os
import subprocess
import sys

from labsupport.figure import plot
from labsupport.figure.page import Page
from tests.figure import sheet


def test_dollars_are_no_formula():
    figure = plot.new_figure(3, 1)
    figure.text(0.1, 0.5, r"RUN echo $$ \ > $HOME/$$_")
    assert plot.png(figure)[:4] == b"\x89PNG"


def test_what_is_foreign_is_text_on_a_page():
    foreign = "<b>&amp; $x$ 'q' \x1b[1m \x00 \udce4"
    page = Page(10, foreign)
    page.show(foreign, [("a",), (foreign,)])
    shown = foreign.translate(dict.fromkeys((0x1B, 0, 0xDCE4), "\ufffd"))
    assert sheet.texts(page) == [shown]


def test_a_matplotlibrc_of_the_users_does_not_reach_in(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\ntext.color: white\n")
    code = "from labsupport.figure import plot; figure = plot.new_figure(); "
    code += "text = figure.text(0, 0, 'x'); plot.png(figure); "
    code += "print(text.get_color(), text.get_usetex())"
    env = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
    told = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    assert told == "black False\n"
