"""The capability map, from data."""

from itertools import pairwise

from labsupport import capabilities
from labsupport.linux.capabilities import CapabilitySets
from labsupport.views import capability_map as view
from labsupport.views import style

KNOWN = ("CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN")
NONE = frozenset()


def sets(effective, bounding=None, *, uid=0, no_new_privs=False):
    has = frozenset(effective)
    could = has if bounding is None else frozenset(bounding)
    return CapabilitySets(has, has, NONE, could, NONE, no_new_privs, "off", uid, KNOWN)


WHO = {
    "notebook": sets(KNOWN),
    "container": sets({"CAP_CHOWN"}),
    "a user": sets((), KNOWN, uid=1000),
    "no way up": sets((), KNOWN, uid=1000, no_new_privs=True),
}


def test_how_a_process_stands_to_a_capability():
    stands = {who: view.standing(each, "CAP_SYS_ADMIN") for who, each in WHO.items()}
    assert stands == {
        "notebook": view.HAS, "container": view.NO, "a user": view.COULD, "no way up": view.NO,
    }  # fmt: skip


def test_what_most_have_comes_first():
    assert view.order(WHO) == ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"]


def test_the_words_say_all():
    said = view.words(WHO)
    assert said.startswith("Of 3 capabilities, notebook has 3, container has 1")
    assert "container (user 0, seccomp off): CAP_CHOWN." in said
    assert "no way up (user 1000, no_new_privs, seccomp off): none." in said
    assert view.table(WHO)[1][:3] == ("CAP_CHOWN", view.HAS, view.HAS)


def test_the_map_is_drawn_with_a_sign_in_each_full_cell():
    figure = style.new_figure(8.6, 8.6 * view.needed_height(WHO) / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    view.draw_capabilities(axes, WHO)
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("✓") == 3 + 1 + 1  # the last is the key's
    assert {"CHOWN", "KILL", "SYS_ADMIN", "notebook", "user 0", "1 of 3"} <= set(texts)


def test_real_sets_fit_on_the_page():
    who = {"this notebook": capabilities(), "docker run": capabilities(), "x": capabilities()}
    figure = style.new_figure(8.6, 8.6 * view.needed_height(who) / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    view.draw_capabilities(axes, who)
    figure.canvas.draw()
    width = figure.get_figwidth() * figure.dpi
    assert all(t.get_window_extent().x0 >= 0 and t.get_window_extent().x1 <= width
               for t in axes.texts)  # fmt: skip


def test_the_headings_of_five_columns_do_not_meet():
    labels = ("this notebook", "docker run", "with SYS_ADMIN", "only CHOWN", "user 65534")
    who = {label: sets({"CAP_CHOWN"}, uid=65534) for label in labels}
    figure = style.new_figure(8.6, 8.6 * view.needed_height(who) / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    view.draw_capabilities(axes, who)
    figure.canvas.draw()
    heads = [text.get_window_extent() for text in axes.texts if text.get_weight() == "bold"]
    heads = [box for box in heads[1:] if box.y0 > 0.8 * figure.bbox.height / 2][: len(labels)]
    assert all(left.x1 < right.x0 for left, right in pairwise(heads))
