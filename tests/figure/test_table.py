"""Tables of words: what a cell holds is text, unless it is made as markup."""

from labsupport.figure.table import PlainTable, code, html_table, marked


def test_what_a_cell_holds_cannot_become_markup():
    html = html_table(("<i>", "b"), [("<u>", 1), (code("<s>"), marked("a `<b>` c"))], "<p>")
    for tag in ("<i>", "<u>", "<s>", "<b>", "<p>"):
        assert tag not in html
    assert "<code>&lt;s&gt;</code>" in html
    assert ">1</td>" in html


def test_a_row_is_named_by_its_first_cell_and_looks_as_it_is_told():
    rows = [("one", "1"), ("two", "2")]
    html = html_table((), rows, looks=["", "opacity:.5"])
    assert html.count("scope='row'") == html.count("opacity:.5") == 2
    assert "<thead>" not in html
    assert "scope='row'" not in html_table(("", ""), rows, named=False)


def test_a_plain_table_links_and_says_the_same_as_text():
    table = PlainTable("found", ("what", "how"), (("`x`", "1"), ("y", "2")), ("a?b&c", ""))
    html = table._repr_html_()
    assert "<a href='a?b&amp;c'><code style='white-space:nowrap'>x</code></a>" in html
    assert html.count("<a ") == 1
    assert repr(table) == "found\nwhat | how\n`x` | 1\ny | 2"
