"""The static site: built once from the notebooks in git, and looked at; and what a check finds."""

import pytest

from labsupport.course.catalogue import chapters
from labsupport.errors import LabError
from labsupport.making import site
from labsupport.making.site import problems

REPOSITORY = "https://github.com/someone/course"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("jupyter_book", reason="needs jupyter-book (./lab test installs it)")
    folder = tmp_path_factory.mktemp("site") / "site"
    site.build(folder, REPOSITORY)
    return folder


def test_every_notebook_is_a_page_with_its_pictures_and_their_words(built):
    assert problems(built) == []
    for chapter in chapters():
        page = (built / chapter.file.replace(".ipynb", ".html")).read_text()
        assert chapter.title in page
        assert "mybinder.org" in page
        live = f"https://someone.github.io/course/lab/index.html?path={chapter.file}"
        assert (live in page) == (chapter.number != "12")
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


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<a href='nowhere.html'>x</a>", "leads nowhere"),
        ("<a href='#nothing'>x</a>", "no place on its page"),
        ("<a href='other.html#nothing'>x</a>", "no place on its page"),
        ("<img src='gone.png' alt='words'>", "is missing"),
        ("<img src='there.png'>", "has no words"),
        ("<img src='there.png' alt='_images/1234.png'>", "has no words"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, markup, found):
    (tmp_path / "there.png").touch()
    (tmp_path / "other.html").write_text("<p id='something'>")
    (tmp_path / "index.html").write_text(markup)
    [problem] = problems(tmp_path)
    assert found in problem


def test_what_is_right_is_let_be(tmp_path):
    (tmp_path / "index.html").write_text(
        "<p id='a'><a href='#a'>x</a> <a href='https://example.org/gone'>x</a>"
        "<img src='data:image/png;base64,' alt='words'>"
    )
    assert problems(tmp_path) == []
