"""What the README says of its own address, and that none of its links is dead."""

import re

import pytest

from labsupport.errors import LabError
from labsupport.making import links
from tests.toys import CHECKOUT

PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("deploy/*.md")])
LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)")


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text((CHECKOUT / "README.md").read_text())
    return path


def outside(text):
    """All but the links."""
    return text.partition(links.BEGIN)[0], text.partition(links.END)[2]


def test_links_are_written_once_and_nothing_else_is_touched(readme):
    before = readme.read_text()
    assert links.main(["Ada-L/containers.live", "--file", str(readme)]) == 0
    once = readme.read_text()
    assert "https://ada-l.github.io/containers.live/" in once
    assert "mybinder.org/v2/gh/Ada-L/containers.live/HEAD" in once
    assert "git clone https://github.com/Ada-L/containers.live.git" in once
    links.write(readme, "Ada-L/containers.live")
    assert readme.read_text() == once
    links.write(readme, "bob/bob.github.io")
    assert "https://bob.github.io/)" in readme.read_text()
    assert "Ada-L" not in readme.read_text()
    assert outside(readme.read_text()) == outside(before)


@pytest.mark.parametrize(
    "name",
    [
        *("", "ada", "ada/", "/course", "ada/b/c", "ada/course.git", "ada/..", "-a/b", "ada/a b"),
        *("https://github.com/ada/course", "ada/course\n", "ada/cou)rse", "ädä/course"),
    ],
)
def test_what_is_no_repository_is_refused(readme, name):
    before = readme.read_text()
    with pytest.raises(LabError, match="OWNER/REPOSITORY"):
        links.write(readme, name)
    assert readme.read_text() == before


@pytest.mark.parametrize("text", ["a page", f"only {links.BEGIN}", f"only {links.END}", None])
def test_a_file_without_a_place_for_links_stays_as_it_is(tmp_path, text):
    path = tmp_path / "README.md"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LabError, match="was not changed"):
        links.write(path, "ada/course")
    assert (path.read_text() if path.exists() else None) == text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_link_is_dead_and_no_picture_is_without_words(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for picture, words, target in LINK.findall(text):
        assert words or not picture, f"{target} has no words"
        assert not re.search(r"OWNER|REPOSITORY|[<>]", target), f"{target} is not an address"
        path, _, place = target.partition("#")
        if not re.match(r"\w+:", target) and path:
            assert (page.parent / path).exists(), f"{target} leads nowhere"
        if place and path.endswith(".md"):
            assert place in anchors((page.parent / path).read_text())


def anchors(text):
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
