"""What all pictures share: words stay as they are written."""

from labsupport.views import style


def test_dollars_are_no_formula():
    figure = style.new_figure(3, 1)
    figure.text(0.1, 0.5, r"RUN echo $$ \ > $HOME/$$_")
    assert style.png(figure)[:4] == b"\x89PNG"
