"""What builders say, read line by line."""

import pytest

from labsupport.build.log import BuildKitReader, StepReader, stages

DOCKER_28 = """\
Step 1/2 : FROM alpine
 ---> fe5c000a4768
Step 2/2 : RUN echo said
 ---> Running in 5f0c6a2b8f1d
said
 ---> Removed intermediate container 5f0c6a2b8f1d
 ---> 7532625b022c
"""


OUT_OF_ORDER = """\
#4 [maker 1/2] FROM docker.io/library/golang
#4 CACHED
#7 [stage-1 2/2] COPY --from=maker /a /a
#6 [maker 2/2] RUN make
#6 1.055 made
#6 DONE 1.1s
#5 [stage-1 1/2] FROM docker.io/library/alpine
#5 DONE 0.3s
"""
PODMANS_CACHE = f"""\
STEP 1/2: FROM alpine
STEP 2/2: COPY /a /a
--> Using cache {"41b3598b4d66" + 52 * "c"}
--> 41b3598b4d6
"""


def read(reader, text):
    for at, line in enumerate(text.splitlines()):
        reader.take(line, float(at))
    reader.finish(60.0)
    return reader.steps


def test_buildkit_s_steps_are_in_the_dockerfile_s_order_whatever_runs_first():
    steps = read(BuildKitReader(["maker", "stage-1"]), OUT_OF_ORDER)
    names = [step.name for step in steps]
    assert names == ["[maker 1/2]", "[maker 2/2]", "[stage-1 1/2]", "[stage-1 2/2]"]


def test_podman_says_all_of_an_id_first_and_then_shortens_it():
    assert len(read(StepReader([""]), PODMANS_CACHE)[1].image_id) == 64


def test_docker_28_says_otherwise_that_a_container_was_removed():
    assert [step.output for step in read(StepReader([""]), DOCKER_28)] == ["", "said\n"]


@pytest.mark.parametrize(
    ("dockerfile", "names"),
    [
        ("FROM a", [""]),
        ("# FROM no\nARG X\nfrom --platform=linux/amd64 a AS One\nFROM \\\n  b\nFROM c as two",
         ["one", "stage-1", "two"]),
    ],
)  # fmt: skip
def test_stages_are_named_as_buildkit_names_them(dockerfile, names):
    assert stages(dockerfile) == names
