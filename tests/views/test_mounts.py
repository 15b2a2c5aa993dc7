"""The mount map, the propagation matrix and the escapes: words and pictures, from data."""

import pytest

from labsupport import MountConsole, MountMap, Sandbox, small_root
from labsupport.linux.escape import Attempt
from labsupport.linux.mounts import MountTable, parse
from labsupport.linux.propagation import Outcome
from labsupport.views import escapes, mounts, propagation, style

EMPTY = MountTable(0, ())


def line(number, device, point, what="ext4 /dev/vda", root="/"):
    return parse(f"{number} {0 if point == '/' else 1} {device} {root} {point} rw - {what} rw")


def column(label, colour, *lines):
    return mounts.Column(label, colour, MountTable(len(label), lines))


HOST_LINES = [
    line(1, "8:1", "/"),
    *(line(n, f"0:{n}", f"/sys/{n}", "sysfs s") for n in range(2, 9)),
]
HOST = column("the host", style.HOST, *HOST_LINES)
A = column(
    "A", style.FIRST, line(1, "8:1", "/", root="/r"), line(2, "7:0", "/data", "ext4 /dev/D_A")
)
B = column(
    "B", style.SECOND, line(1, "8:1", "/", root="/r"), line(2, "7:1", "/data", "ext4 /dev/D_B")
)


def drawn_text(draw, data):
    figure = style.new_figure()
    axes = figure.add_axes((0, 0, 1, 1))
    draw(axes, data)
    return [text.get_text() for text in axes.texts]


def test_the_lectures_example():
    assert mounts.finding([HOST, A, B]) == "At /data: ext4 D_A in A, ext4 D_B in B"
    text = drawn_text(mounts.draw_mounts, [HOST, A, B])
    assert {"ext4 D_A", "ext4 D_B", "/data"} <= set(text)
    assert "ext4 D_A (7:0) at /data" in mounts.words([HOST, A, B])


def test_what_several_tables_have_is_told_from_what_one_has():
    by_point = {row.label: row.cells for row in mounts.rows([HOST, A, B])}
    assert [cell.shared for cell in by_point["/"]] == [True, True, True]
    assert by_point["/data"][0] is None
    assert not by_point["/data"][1].shared


def test_many_rows_alike_become_one_and_the_table_has_them_all():
    labels = [row.label for row in mounts.rows([HOST, A, B])]
    assert labels == ["/", "/data", "… 7 more points"]
    assert len(mounts.table([HOST, A, B])) == 1 + 9


def test_a_file_system_at_two_drives_of_the_same_number_is_shared():
    same = column("B", style.SECOND, *A.table)
    assert mounts.finding([A, same]) == "2 tables with the same file systems"


def test_a_mount_of_one_table_only_is_the_finding():
    extra = column("the copy", style.FIRST, *HOST_LINES, line(20, "0:99", "/tmp", "tmpfs private"))
    assert mounts.finding([HOST, extra]) == "/tmp is a mount point in the copy only"


def test_a_hidden_mount_is_not_drawn():
    over = parse("3 2 0:50 / /data rw - tmpfs cover rw")
    covered = column("A", style.FIRST, *A.table, over)
    cells = {row.label: row.cells for row in mounts.rows([covered, B])}
    assert cells["/data"][0].name == "tmpfs cover"


def test_where_the_course_lies_is_nobodys_concern():
    vm = column("the host", style.HOST, line(1, "8:1", "/"), line(2, "0:9", f"{mounts.COURSE}/x"))
    assert [row.label for row in mounts.rows([vm])] == ["(the course)/x", "/"]


def test_everything_fits_on_the_page():
    high = mounts.needed_height([HOST, A, B])
    figure = style.new_figure(9.2, 9.2 * high / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    mounts.draw_mounts(axes, [HOST, A, B])
    figure.canvas.draw()
    page = figure.bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0, text.get_text()
        assert box.x1 <= page.x1, text.get_text()
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text.get_text()


def test_the_map_reads_the_kernel(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "show", lambda figure, alt, table: shown.append((alt, table)))
    with small_root() as root, Sandbox(rootfs=root) as box:
        mount_map = MountMap({"A": box}, host=False)
        box.run(["mount", "-t", "tmpfs", "fresh", "/srv"])
        mount_map.draw()
    alt, table = shown[0]
    assert "tmpfs fresh" in alt
    assert "/srv" in [row[0] for row in table]


def outcome(setting, to_copy, to_original):
    return Outcome(setting, to_copy, to_original, EMPTY, EMPTY)


def test_the_matrix_says_what_happened_not_what_should_have():
    odd = [outcome("shared", True, True), outcome("slave", False, True)]
    assert propagation.finding(odd).startswith("shared: both ways   slave: from the copy")
    text = drawn_text(propagation.draw_propagation, odd)
    assert text.count("shows") == 3
    assert text.count("stays where it is") == 1
    assert propagation.table(odd)[2] == ("slave", "no", "yes")
    assert "With slave, mounts made after the copy spread from the copy" in propagation.words(odd)


@pytest.mark.parametrize(("escaped", "old", "words"), [(True, 21, "got out"), (False, 0, "inside")])
def test_escapes(escaped, old, words):
    attempts = [Attempt("chroot", escaped, "no", "yes", old)]
    text = " ".join(drawn_text(escapes.draw_escapes, attempts))
    assert ("cannot be reached" in text) == (not escaped)
    assert ("“..” ends here" in text) == (not escaped)
    assert words in escapes.words(attempts)
    assert escapes.table(attempts)[1][-1] == ("yes" if escaped else "no")


@pytest.fixture
def console():
    with small_root() as root, Sandbox(rootfs=root) as box:
        console = MountConsole(box)
        yield console
        console.close()


def test_the_consoles_mounts_spread_as_its_setting_says(console):
    for setting, original, copy in [
        ("shared", ["original", "copy"], ["original", "copy"]),
        ("slave", ["original", "copy"], ["copy"]),
        ("private", ["original"], ["copy"]),
    ]:
        console.choose(setting)
        console.toggle("original")
        console.toggle("copy")
        assert (console.where("original"), console.where("copy")) == (original, copy)
        assert console.finding().startswith(setting)
        assert console.finding() in console.picture.alt


def test_a_second_press_unmounts_and_that_spreads_too(console):
    console.toggle("copy")
    before = console.picture.png
    console.toggle("copy")
    assert console.where("copy") == []
    assert console.picture.png != before
    console.toggle("copy")
    console.toggle("original")
    console.toggle("original")
    assert console.where("original") == []


def test_the_consoles_buttons_do_the_same(console):
    _, buttons, _ = console._console().children
    console._settings.value = "private"
    for button in buttons.children:
        button.click()
    assert (console.where("original"), console.where("copy")) == (["original"], ["copy"])


def test_a_button_that_fails_says_so(console):
    _, buttons, picture = console._console().children
    console.toggle("original")
    console.box.start(["sh", "-c", "cd /mnt/by_original; echo ready; sleep 30"]).expect("ready")
    buttons.children[0].click()
    assert "has its working folder" in picture.status
