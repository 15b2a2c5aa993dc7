"""What instructions do, read out of real builds (10 s)."""

import pytest

from labsupport.build.anatomy import Anatomy
from labsupport.build.build import Build
from labsupport.build.workbench import Workbench
from labsupport.engine.client import Engine
from labsupport.engine.listing import IMAGE_OWNER
from labsupport.errors import LabError
from labsupport.image.image import Image

DOCKERFILE = """FROM labsupport/busybox
ENV A=1
LABEL who=me
WORKDIR /srv/made
WORKDIR /tmp
COPY file /file
RUN echo more >> /etc/passwd && rm /bin/ls
EXPOSE 80
USER nobody
ENTRYPOINT ["cat"]
CMD ["/file"]
"""


@pytest.fixture
def bench(an_engine):
    with Engine.connect() as engine, Workbench(engine) as bench:
        yield bench


def effects(bench, build):
    with Image.of(bench.engine, build.image_id) as image:
        return Anatomy.of(bench.engine, build, image.layers).effects


@pytest.fixture
def found(bench):
    bench.write("file", "four")
    build = bench.build(DOCKERFILE, "anatomy", classic=True)
    return effects(bench, build)


def test_each_instruction_is_told_apart(found, bench):
    assert [each.instruction for each in found] == DOCKERFILE.splitlines()
    by_verb = {each.verb: each for each in found}

    assert [each.verb for each in found if each.layers] == ["FROM", "WORKDIR", "COPY", "RUN"]
    assert by_verb["FROM"].config["Cmd"] == ("", '["sh"]')
    assert by_verb["ENV"].config["Env"][1].endswith('"A=1"]')
    assert by_verb["LABEL"].config == {"Labels": ("", '{"who": "me"}')}
    assert by_verb["EXPOSE"].config == {"ExposedPorts": ("", '{"80/tcp": {}}')}
    assert by_verb["USER"].config == {"User": ("", '"nobody"')}
    assert by_verb["CMD"].config == {"Cmd": ("", '["/file"]')}
    assert all(IMAGE_OWNER not in str(each) for each in found)


def test_an_entrypoint_throws_the_cmd_of_the_base_away(found):
    entrypoint = next(each for each in found if each.verb == "ENTRYPOINT")
    assert entrypoint.config == {"Entrypoint": ("", '["cat"]'), "Cmd": ('["sh"]', "")}


def test_a_workdir_adds_a_layer_only_if_it_makes_its_folder(found):
    first, second = (each for each in found if each.verb == "WORKDIR")
    assert first.files == ("/srv", "/srv/made")
    assert first.size_bytes == 0
    assert len(first.layers) == 1
    assert second.layers == ()
    assert second.config == {"WorkingDir": ('"/srv/made"', '"/tmp"')}


def test_files_are_those_added_changed_and_deleted(found):
    copy = next(each for each in found if each.verb == "COPY")
    run = next(each for each in found if each.verb == "RUN")
    assert (copy.files, copy.size_bytes) == (("/file",), 4)
    assert run.files == ("/etc/passwd", "/bin/ls")


def test_from_scratch_begins_with_nothing(bench):
    bench.write("file", "four")
    first, copy = effects(bench, bench.build("FROM scratch\nCOPY file /", "bare", classic=True))
    assert first.layers == ()
    assert set(first.config) <= {"Env"}  # the classic builder gives it a PATH
    assert copy.files == ("/file",)


def test_a_build_without_images_of_its_steps_is_refused(bench):
    bench.write("file", "four")
    build = bench.build("FROM labsupport/busybox\nCOPY file /", "known", classic=True)
    steps = tuple(type(step)(step.number, step.total, step.instruction) for step in build.steps)
    with pytest.raises(LabError, match="FROM labsupport/busybox"):
        effects(bench, Build(steps, build.image_id))
