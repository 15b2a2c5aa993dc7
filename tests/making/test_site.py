"""The static site: built once from the notebooks in git and looked at."""

import re

import pytest

from labsupport.course.catalogue import chapters
from labsupport.errors import LabError
from labsupport.making import site

REPOSITORY = "https://github.com/someone/course"
WHERE = pytest.mark.thorough("course", *(chapter.file for chapter in chapters()))
BOOK = pytest.param("jupyter-book", marks=WHERE)


@pytest.fixture(scope="module", params=[BOOK])
def built(tmp_path_factory):
    pytest.importorskip("jupyter_book", reason="needs jupyter-book (./lab test installs it)")
    folder = tmp_path_factory.mktemp("site") / "site"
    site.build(folder, REPOSITORY)
    return folder


def test_every_notebook_is_a_page_with_its_pictures_and_their_words(built):
    for chapter in chapters():
        page = (built / chapter.file.replace(".ipynb", ".html")).read_text()
        assert chapter.title in page
        assert "mybinder.org" in page
        live = f"https://someone.github.io/course/lab/index.html?path={chapter.file}"
        assert (live in page) == (chapter.number not in ("12", "14"))
        assert all(re.findall(r"<img alt='([^']*)'", page))
    pictures = list((built / "_static").glob("????????????????.png"))
    assert len(pictures) > 20


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(LabError, match="not an earlier site"):
        site.build(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_the_first_page_asks_each_notebooks_question(built):
    page = (built / "index.html").read_text()
    assert all(chapter.file.replace(".ipynb", ".html") in page for chapter in chapters())


def test_no_path_of_this_machine_is_in_it(built):
    text = "".join(path.read_text() for path in built.glob("*.html"))
    assert str(site.CHECKOUT) not in text
    assert "/tmp/lab-site-" not in text
