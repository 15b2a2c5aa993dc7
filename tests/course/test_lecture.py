"""What the notebooks quote stands on a slide of the lecture, word for word, below its heading."""

import re

import pytest

from labsupport.course.catalogue import NOTEBOOKS, beliefs, chapters, corrections


def plain(text):
    """Words only: without the line breaks and the emphasis of a slide."""
    return " ".join(text.replace("*", "").split())


def slides():
    """What is quoted, by the heading of its slide; a heading may be quoted itself."""
    found: dict[str, str] = {}
    for part in re.split(r"^## ", (NOTEBOOKS / "data/lecture.txt").read_text(), flags=re.M)[1:]:
        heading = part.partition("\n")[0]
        found[heading.casefold()] = plain(part)
    return found


@pytest.mark.parametrize(
    ("heading", "quotation"),
    [
        pytest.param(told.get("heading", ""), told["slide"], id=cell)
        for chapter in chapters()
        for cell, told in chapter.corrections.items()
    ],
)  # fmt: skip
def test_a_quotation_stands_on_its_slide(heading, quotation):
    """In this order, where “…” leaves something out."""
    slide = slides().get(heading.casefold())
    assert slide, f"data/lecture.txt has no heading {heading!r}: copy it from the lecture's text"
    for piece in quotation.split("…"):
        assert plain(piece) in slide, f"this is not quoted in data/lecture.txt: {piece!r}"
        slide = slide.partition(plain(piece))[2]


@pytest.mark.parametrize("table", [corrections(), beliefs()], ids=["corrections", "beliefs"])
def test_each_row_names_a_code_cell_that_is_there(table):
    assert table.rows
    for link in table.links:
        file, _, cell = link.partition("#cell-id=")
        assert f'"id": "{cell}"' in (NOTEBOOKS / file).read_text()
    known = {f"C{number:02}" for number in range(1, 33)}
    assert {row[0] for row in table.rows} <= known
    assert all(all(row) for row in table.rows)


def test_nothing_of_the_lecture_is_kept_but_what_is_quoted():
    told = [each for chapter in chapters() for each in chapter.corrections.values()]
    pieces = [plain(piece) for each in told for piece in each["slide"].split("…")]
    text = (NOTEBOOKS / "data/lecture.txt").read_text().partition("## ")[2].splitlines()[1:]
    kept = [plain(line) for line in text if line and not line.startswith("## ")]
    assert [line for line in kept if not any(piece in line for piece in pieces)] == []
