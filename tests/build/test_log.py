"""What builders say, read line by line."""

import pytest

from labsupport.build.log import BuildKitReader, StepReader, stages
from labsupport.engine.listing import IMAGE_OWNER

LABEL = f'LABEL {IMAGE_OWNER}="me"'
BUILDKIT = """\
#1 [internal] load build definition from Dockerfile
#1 sha256:dd39adc7b2dde7d76a4e7f61ef7fda526338ad12d47eef11247f5d217d8439b2
#1 transferring dockerfile: 236B done
#1 DONE 0.0s

#4 [maker 1/2] FROM docker.io/library/golang
#4 CACHED

#7 [stage-1 2/2] COPY --from=maker /a /a
#6 [maker 2/2] RUN echo "#9 [2/3] is not a step"
#6 0.052 #9 [2/3] is not a step
#6 1.055 two
#6 DONE 1.1s

#5 [stage-1 1/2] FROM docker.io/library/alpine
#5 sha256:5332883376c4f321136107a760124828092addb2f86a7429f71989b0efb79fff
#5 extracting sha256:aa 0.1s done
#5 DONE 0.3s

#7 [stage-1 2/2] COPY --from=maker /a /a
#7 ERROR: "/a" not found: not found
------
 > [stage-1 2/2] COPY --from=maker /a /a:
------
failed to compute cache key: "/a" not found: not found
"""
CLASSIC = f"""\
Sending build context to Docker daemon  3.072kB
Step 1/5 : FROM golang AS maker
 ---> fe5c000a4768
Step 2/5 : RUN echo "Step 3/9 : is no step"
 ---> Running in 5f0c6a2b8f1d
\x1b[91mStep 5/9 : nor is this
\x1b[0mRemoving intermediate container 5f0c6a2b8f1d
 ---> 7532625b022c
Step 3/5 : FROM scratch
 ---> {""}
Step 4/5 : COPY --from=maker /a /a
 ---> Using cache
 ---> 8532625b022c
Step 5/5 : {LABEL}
 ---> Running in 1e5c000a4768
 ---> 1e5c000a4769
Successfully built 1e5c000a4769
"""
NAMES = ["maker", "stage-1"]


def read(reader, text):
    for at, line in enumerate(text.splitlines()):
        reader.take(line, float(at))
    reader.finish(60.0)
    return reader.steps


def test_buildkit_s_steps_are_in_the_dockerfile_s_order_whatever_runs_first():
    reader = BuildKitReader(NAMES)
    found = read(reader, BUILDKIT)
    assert [step.name for step in found] == [
        "[maker 1/2]", "[maker 2/2]", "[stage-1 1/2]", "[stage-1 2/2]",
    ]  # fmt: skip
    assert [step.output for step in found] == ["", "#9 [2/3] is not a step\ntwo\n", "", ""]
    assert [step.seconds for step in found] == [0.0, 1.1, 0.3, None]
    assert [step.cached for step in found] == [True, False, False, False]
    assert [step.failed for step in found] == [False, False, False, True]
    assert reader.last_words == 'failed to compute cache key: "/a" not found: not found'


def test_the_classic_builder_s_steps_are_those_of_the_student_s_dockerfile():
    found = read(StepReader(NAMES), CLASSIC)
    assert [step.name for step in found] == [
        "[maker 1/4]", "[maker 2/4]", "[stage-1 3/4]", "[stage-1 4/4]",
    ]  # fmt: skip
    assert [step.output for step in found] == ["", "Step 5/9 : nor is this\n", "", ""]
    assert [step.image_id for step in found] == [
        "fe5c000a4768", "7532625b022c", None, "8532625b022c",
    ]  # fmt: skip
    assert [step.cached for step in found] == [False, False, False, True]
    assert [step.seconds for step in found] == [2.0, 5.0, 2.0, 3.0]


def test_docker_28_says_otherwise_that_a_container_was_removed():
    said = CLASSIC.replace("Removing", " ---> Removed")
    assert read(StepReader(NAMES), said)[1].output == "Step 5/9 : nor is this\n"


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
