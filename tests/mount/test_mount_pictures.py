"""The pictures of mounts: what they say is what the kernel said."""

from labsupport import MountMap, Sandbox
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.kernel.mounts import parse
from labsupport.mount import mount_map
from labsupport.sandbox.rootfs import small_root
from tests.figure import sheet
from tests.mount.samples import HOST_LINES, MAP, SHELVES, A, B, column, line


def test_the_lectures_example():
    assert mount_map.finding(MAP) == "At /data: ext4 D_A in A, ext4 D_B in B"
    assert {"ext4 D_A", "ext4 D_B", "/data"} <= {*sheet.texts(mount_map.page(MAP))}
    assert "ext4 D_A (7:0) at /data" in mount_map.words(MAP)


def test_what_several_tables_have_is_told_from_what_one_has():
    rows = mount_map.all_rows(MAP)
    assert [cell.shared for cell in rows["/"].cells] == [True, True, True]
    assert rows["/data"].cells[0] is None
    assert not rows["/data"].cells[1].shared


def test_what_the_picture_is_for_comes_first_and_the_rest_is_one_row():
    labels = [row.label for row in mount_map.few_rows(MAP)]
    assert labels == ["/data", "/", "… 7 more"]
    assert "7 mounts" in sheet.texts(mount_map.page(MAP))
    assert len(mount_map.table(MAP)) == 1 + 9


def test_what_the_only_sandbox_alone_has_comes_first():
    extra = column("the copy", style.FIRST, *HOST_LINES, line(20, "0:99", "/tmp", "tmpfs private"))
    labels = [row.label for row in mount_map.few_rows([MAP[0], extra])]
    assert labels == ["/tmp", "/", "… 7 more"]
    assert mount_map.finding([MAP[0], extra]) == "/tmp is a mount point in the copy only"


def test_a_file_system_at_two_drives_of_the_same_number_is_shared():
    same = column("B", style.SECOND, *A.table)
    assert mount_map.finding([A, same]) == "2 tables with the same file systems"


def test_a_hidden_mount_is_not_drawn():
    over = parse("3 2 0:50 / /data rw - tmpfs cover rw")
    covered = column("A", style.FIRST, *A.table, over)
    assert mount_map.all_rows([covered, B])["/data"].cells[0].name == "tmpfs cover"


def test_where_the_course_lies_is_nobodys_concern():
    ours = line(2, "0:9", f"{mount_map.COURSE}/x")
    vm = column("the host", style.HOST, line(1, "8:1", "/"), ours)
    assert [row.label for row in mount_map.all_rows([vm]).values()] == ["/", "(the course)/x"]


def test_the_map_reads_the_kernel(monkeypatch):
    shown = []
    monkeypatch.setattr(Page, "show", lambda _, alt, table: shown.append((alt, table)))
    with small_root() as root, Sandbox(rootfs=root) as box:
        made = MountMap({"A": box})
        box.run(["mount", "-t", "tmpfs", "fresh", "/srv"])
        made.draw()
    alt, table = shown[0]
    assert "tmpfs fresh" in alt
    assert "/srv" in [row[0] for row in table]


def test_shelves_tell_of_every_name_where_it_lies():
    words = SHELVES.words()
    assert words.startswith("2 names are seen: 1 in the container's, 1 in base; 2 hidden.")
    assert "a: is not visible (the container's has deleted; base has 5 B)." in words
    assert "b: lies in base." in words
    table = SHELVES.table()
    assert table[0] == ("name", "lies in", "the container's", "base")
    assert table[1] == ("a", "", "deleted", "5 B")
    hidden = [text for text in sheet.texts(SHELVES.page()) if text in ("5 B", "3 B", "✕ deleted")]
    assert sorted(hidden) == ["3 B", "5 B", "✕ deleted"]
