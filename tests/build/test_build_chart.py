"""A build's steps as bars, and two builds side by side: from data."""

from dataclasses import replace

import pytest

from labsupport.build import chart
from labsupport.build.build import Build, BuildStep

MB = 1_000_000
FROM = BuildStep(1, 4, "FROM docker.io/library/python:3", 0.01, 2 * MB)
COPY = BuildStep(2, 4, "COPY list /", 0.2, 400)
RUN = BuildStep(3, 4, "RUN install \\\n  everything", 4.2, 30 * MB)
CMD = BuildStep(4, 4, 'CMD ["sh"]', 0.1, 0)
BUILD = Build((FROM, COPY, RUN, CMD), "sha256:abc", "t:1", 5.1)
AGAIN = replace(
    BUILD, steps=(FROM, *(replace(s, cached=True) for s in (COPY, RUN, CMD))), seconds=0.6
)


def cached(build, *numbers, seconds=0.6):
    steps = tuple(
        replace(step, cached=True, seconds=0.01) if step.number in numbers else step
        for step in build.steps
    )
    return replace(build, steps=steps, seconds=seconds)


def drawn(*builds):
    return chart.page(*builds).axes


def texts(axes):
    return [text.get_text() for text in axes.texts]


def bars(axes):
    return [patch for patch in axes.patches if type(patch).__name__ == "Rectangle"]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (replace(BUILD, steps=(FROM, replace(RUN, seconds=24.0)), seconds=36.3),
         "Step 3 took 24 of 36 s"),
        (AGAIN, "All from the cache: 0.6 s in all"),
        (BUILD, "Step 3 took 4.2 of 5.1 s"),
        (cached(BUILD, 2, seconds=4.5), "Step 3 took 4.2 of 4.5 s; 1 step from the cache"),
        (Build((FROM, replace(RUN, stage="maker"))), "Step 3 of maker took 4.2 s"),
    ],
)  # fmt: skip
def test_the_finding(build, said):
    assert chart.finding(build) == said


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (cached(BUILD, 2, 3), "From step 4 on, all was done again: 0.6 s instead of 5.1 s"),
        (cached(BUILD, 2, 3, 4), "All 3 steps from the cache: 0.6 s instead of 5.1 s"),
        (BUILD, "Nothing came from the cache: 5.1 s instead of 5.1 s"),
        (cached(BUILD, 2, 4), "2 of 3 steps from the cache: 0.6 s instead of 5.1 s"),
    ],
)
def test_the_finding_of_a_rebuild(after, said):
    assert chart.finding(BUILD, after) == said


def test_words_and_table_say_all_that_the_picture_does():
    build = cached(BUILD, 2)
    said = chart.words(build)
    assert "Step [1/4] FROM docker.io/library/python:3: 0.0 s, brings 2 MB." in said
    assert "Step [2/4] COPY list /: CACHED." in said
    assert "Step [3/4] RUN install \\ everything: 4.2 s, adds 30 MB." in said
    head, *rows = chart.table(build)
    assert len(head) == len(rows[0])
    assert [row[-1] for row in rows] == ["", "CACHED", "", ""]
    assert [row[3] for row in rows] == [2 * MB, 400, 30 * MB, 0]
    both = chart.words(BUILD, build)
    assert both.index("The first build:") < both.index("The second build:")
    assert len(chart.table(BUILD, build)) == 9


def test_bars_are_as_long_as_the_steps_took():
    wide = [bar.get_width() for bar in bars(drawn(BUILD))]
    assert wide[2] / wide[1] == pytest.approx(4.2 / 0.2)
    assert 0 < wide[0] < 1  # there, though it took no time


def test_two_builds_have_one_scale_and_cached_steps_are_joined():
    axes = drawn(BUILD, cached(BUILD, 2, 3))
    wide = [bar.get_width() for bar in bars(axes)]
    assert wide[3] == pytest.approx(wide[5])  # CMD, which took as long in both
    assert texts(axes).count("CACHED") == 2
    joints = [patch for patch in axes.patches if type(patch).__name__ == "Polygon"]
    assert len(joints) == 2
    assert len([p for p in drawn(BUILD, BUILD).patches if type(p).__name__ == "Polygon"]) == 0


def test_a_step_that_moved_is_joined_to_where_it_was():
    swapped = Build((FROM, replace(RUN, number=2, cached=True), replace(COPY, number=3)))
    axes = drawn(BUILD, swapped)
    (joint,) = [patch for patch in axes.patches if type(patch).__name__ == "Polygon"]
    left, right = joint.get_xy()[0], joint.get_xy()[1]
    assert left[1] > right[1]  # third row on the left, second on the right


def test_colour_is_never_the_only_sign():
    axes = drawn(cached(BUILD, 2))
    assert "CACHED" in texts(axes)
    assert any("grey, CACHED" in text for text in texts(axes))
