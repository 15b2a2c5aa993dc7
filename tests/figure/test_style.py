"""What all pictures share: words stay as they are written."""

import os
import subprocess
import sys

import matplotlib as mpl

from labsupport.figure import style
from labsupport.figure.page import Page


def test_dollars_are_no_formula():
    figure = style.new_figure(3, 1)
    figure.text(0.1, 0.5, r"RUN echo $$ \ > $HOME/$$_")
    assert style.png(figure)[:4] == b"\x89PNG"


def test_words_are_not_set_by_latex_whatever_the_students_settings_say():
    with mpl.rc_context({"text.usetex": True}):
        assert style.png(Page(10, "50 % of an_underline").figure)


def test_a_matplotlibrc_of_the_users_does_not_reach_in(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\ntext.color: white\n")
    code = "from labsupport.figure import style; figure = style.new_figure(); "
    code += "text = figure.text(0, 0, 'x'); style.png(figure); "
    code += "print(text.get_color(), text.get_usetex())"
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "black False\n"
