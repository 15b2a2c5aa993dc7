"""What builders say, read line by line."""

import pytest

from labsupport.build.log import StepReader, stages

DOCKER_28 = """\
Step 1/2 : FROM alpine
 ---> fe5c000a4768
Step 2/2 : RUN echo said
 ---> Running in 5f0c6a2b8f1d
said
 ---> Removed intermediate container 5f0c6a2b8f1d
 ---> 7532625b022c
"""


def test_docker_28_says_otherwise_that_a_container_was_removed():
    reader = StepReader([""])
    for at, line in enumerate(DOCKER_28.splitlines()):
        reader.take(line, float(at))
    reader.finish(60.0)
    assert [step.output for step in reader.steps] == ["", "said\n"]


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
