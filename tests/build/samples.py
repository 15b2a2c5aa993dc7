"""Pictures of this room, from data: see `tests.figure.test_pictures`."""

from dataclasses import replace

from labsupport.build import anatomy, chart, starts
from tests.build.test_build_chart import AGAIN, BUILD, COPY, cached
from tests.build.test_dockerfile_effects import FOUND
from tests.build.test_start_matrix import STARTS


def of_builds(*builds):
    long = replace(COPY, instruction="COPY " + "m" * 300, bytes=123_456_789, seconds=4.2, number=9)
    builds = [replace(build, steps=(*build.steps, long)) for build in builds]
    return lambda: (chart.page(*builds), chart.words(*builds), chart.table(*builds))


def of_start(number):
    start = STARTS[number]
    return lambda: (starts.assembly(start), start.words(), start.table())


PAGES = {
    "build": of_builds(BUILD),
    "rebuild": of_builds(BUILD, cached(BUILD, 2)),
    "anatomy": lambda: (anatomy.page(FOUND), anatomy.words(FOUND), anatomy.table(FOUND)),
    "starts": lambda: (starts.page(STARTS), starts.words(STARTS), starts.table(STARTS)),
    "a start": of_start(3),
    "a start that fails": of_start(0),
    "all cached": of_builds(BUILD, AGAIN),
}
