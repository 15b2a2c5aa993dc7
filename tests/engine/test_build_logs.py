"""Logs that people paste: the lecture's, and texts written as the builders' sources say they are.

BuildKit's: https://github.com/moby/buildkit/tree/master/util/progress/progressui (printer.go for
plain, display.go for a terminal); numbers padded as in moby/buildkit#4535, CANCELED as in
neo4j/NaLLM#88, times of CI before each line as in docker/buildx#1619.
"""

import random

import pytest

from labsupport import Build
from labsupport.engine.build import trace_reader
from labsupport.engine.build.marking import STAGE, instructions, mark
from labsupport.engine.build.step import MOST_OUTPUT
from labsupport.errors import BuildLogUnreadable
from tests.toys import CHECKOUT

DATA = CHECKOUT / "notebooks" / "data"
PLAIN = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 150B done
#1 DONE 0.1s

#2 [internal] load build context
#2 transferring context: 2.05kB done
#2 DONE 0.2s

#3 [base 1/2] FROM docker.io/library/alpine:3
#3 CACHED

#4 [base 2/2] RUN echo one && sleep 3
#4 0.312 one
#4 ...

#5 [stage-1 2/3] RUN sleep 1
#5 DONE 1.2s

#4 [base 2/2] RUN echo one && sleep 3
#4 3.30 two words
#4 DONE 3.4s

#6 [stage-1 3/3] COPY --from=base /one /
#6 DONE 0.1s

#7 exporting to image
#7 exporting layers 0.1s done
#7 writing image sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef done
#7 naming to docker.io/library/stages:2 done
#7 DONE 0.5s
"""
PLAIN_FAILED = """\
#5 [1/2] FROM docker.io/library/alpine:3
#5 CACHED

#6 [2/2] RUN echo hello; exit 7
#6 0.201 hello
#6 ERROR: process "/bin/sh -c echo hello; exit 7" did not complete successfully: exit code: 7
------
 > [2/2] RUN echo hello; exit 7:
0.201 hello
------
ERROR: failed to solve: process "/bin/sh -c echo hello; exit 7" did not complete successfully
"""
TERMINAL = """\
[+] Building 2.6s (7/18)                                       docker:default
 => [internal] load build definition from Dockerfile                     0.1s
 => => transferring dockerfile: 1.63kB                                   0.0s
 => CACHED [ 1/14] FROM docker.io/library/node:22                        0.0s
 => [ 2/14] RUN echo "[1/3] is no step" > /hello                         0.4s
 => ERROR [ 3/14] RUN exit 7                                             0.3s
 => CANCELED [deps  4/14] RUN npm ci                                     2.5s
------
 > [ 3/14] RUN exit 7:
#9 0.222 last words
------
failed to solve: process "/bin/sh -c exit 7" did not complete successfully: exit code: 7
"""
CLASSIC = """\
Sending build context to Docker daemon  34.82kB
Step 1/4 : FROM golang AS maker
 ---> fe5c000a4768
Step 2/4 : RUN echo "Step 3/9 : is no step"
 ---> Running in 5f0c6a2b8f1d
\x1b[91mStep 4/9 : nor is this
\x1b[0mRemoving intermediate container 5f0c6a2b8f1d
 ---> 7532625b022c
Step 3/4 : FROM scratch
 --->
Step 4/4 : COPY --from=maker /a /a
 ---> Using cache
 ---> 8532625b022c
Successfully built 8532625b022c
Successfully tagged simple:latest
"""
STAMPED = """\
2024-02-09T16:30:24.3188068Z Step 1/2 : FROM alpine
2024-02-09T16:30:24.3188728Z  ---> fe5c000a4768
2024-02-09T16:30:25.3188728Z Step 2/2 : RUN exit 7
2024-02-09T16:30:25.4188728Z  ---> Running in 5f0c6a2b8f1d
2024-02-09T16:30:28.8188728Z The command '/bin/sh -c exit 7' returned a non-zero code: 7
"""
PODMAN = """\
[1/2] STEP 1/2: FROM alpine AS maker
[1/2] STEP 2/2: RUN echo hello
hello
--> 41b3598b4d6
[2/2] STEP 1/2: FROM alpine
[2/2] STEP 2/2: COPY --from=maker /a /a
--> Using cache 41b3598b4d6667c8577837a2355cf82251d52ff66b854bb2bbb687b3e1841c5f
--> 41b3598b4d6
[2/2] COMMIT docker.io/t/x:1
--> 41b3598b4d6
Successfully tagged docker.io/t/x:1
"""
OLD = """\
Uploading context 12.29 kB
Step 0 : FROM busybox
 ---> 318032b5f0e2
Step 1 : RUN ls
 ---> Using cache
 ---> d44a858fd1ce
Successfully built d44a858fd1ce
"""


REMOVES = """\
Step 1/2 : FROM busybox
 ---> 318032b5f0e2
Step 2/2 : RUN echo hello
 ---> Running in 5f0c6a2b8f1d
hello
{}intermediate container 5f0c6a2b8f1d
 ---> d44a858fd1ce
Successfully built d44a858fd1ce
"""


def names(build):
    return [step.name for step in build.steps]


def test_the_lecture_s_build_took_most_of_its_time_in_step_2():
    build = Build.parse((DATA / "lecture_build.txt").read_text())

    assert [step.seconds for step in build.steps] == [2.8, 24.0, 0.0, 7.8]
    assert [step.keyword for step in build.steps] == ["FROM", "RUN", "ADD", "RUN"]
    assert names(build) == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert build.seconds == pytest.approx(36.3)
    assert build.context_bytes == 161760
    assert build.tag == "simple-translate"
    assert build.image_id.startswith("sha256:e473d8916478")
    assert build.cached_steps == ()
    assert all(step.bytes is None for step in build.steps)


def test_the_lecture_s_rebuild_had_all_but_its_base_cached():
    build = Build.parse((DATA / "lecture_rebuild.txt").read_text())

    assert [step.number for step in build.cached_steps] == [2, 3, 4]
    assert build.seconds == 0.6
    assert build.context_bytes == 5910


@pytest.mark.parametrize("words", ["Removing ", " ---> Removed "])  # Docker 20, Docker 28
def test_what_the_builder_says_of_its_container_is_no_output(words):
    build = Build.parse(REMOVES.format(words))

    assert [step.output for step in build.steps] == ["", "hello\n"]
    assert build.steps[1].image_id == "d44a858fd1ce"


def test_rows_that_were_joined_when_they_were_copied_are_taken_apart():
    build = Build.parse("=> [2/4] RUN apt-get => [3/4] ADD . /\t24.0s 0.0s\t\n=> [3/4] ADD . / =>"
                        " [4/4] RUN pipenv sync\t0.0s 7.8s\n")  # fmt: skip

    assert [(s.number, s.instruction, s.seconds) for s in build.steps] == [
        (2, "RUN apt-get", 24.0), (3, "ADD . /", 0.0), (4, "RUN pipenv sync", 7.8),
    ]  # fmt: skip


def test_buildkit_s_plain_log_of_two_stages():
    build = Build.parse(PLAIN)

    assert names(build) == ["[base 1/2]", "[base 2/2]", "[stage-1 2/3]", "[stage-1 3/3]"]
    assert [step.seconds for step in build.steps] == [0.0, 3.4, 1.2, 0.1]
    assert [step.cached for step in build.steps] == [True, False, False, False]
    assert build.steps[1].output == "one\ntwo words\n"
    assert build.seconds == pytest.approx(5.5)  # all that was done, one after the other
    assert build.context_bytes == 2050
    assert build.tag == "stages:2"
    assert build.image_id == "sha256:" + "0123456789abcdef" * 4
    assert build.failed_step is None
    assert build.builder == "buildkit"


def test_steps_stand_as_in_the_dockerfile_though_buildkit_tells_them_as_it_likes():
    told = ["[stage-1 1/2] FROM b", "[maker 3/3] RUN two", "[maker 2/3] RUN one",
            "[maker 1/3] FROM a", "[stage-1 2/2] COPY --from=maker . ."]  # fmt: skip
    text = "\n".join(f"#{number} {name}\n#{number} CACHED" for number, name in enumerate(told))

    build = Build.parse(text)
    assert names(build) == [
        "[maker 1/3]", "[maker 2/3]", "[maker 3/3]", "[stage-1 1/2]", "[stage-1 2/2]",
    ]  # fmt: skip


def test_a_failed_build_s_plain_log():
    build = Build.parse(PLAIN_FAILED)

    assert build.failed_step.name == "[2/2]"
    assert build.failed_step.output == "hello\n"
    assert "failed in step [2/2]" in repr(build)
    assert "FAILED" in build._repr_html_()


def test_buildkit_s_log_on_a_terminal():
    build = Build.parse(TERMINAL)

    assert names(build) == ["[1/14]", "[2/14]", "[3/14]", "[deps 4/14]"]
    assert [step.seconds for step in build.steps] == [0.0, 0.4, 0.3, 2.5]
    assert build.cached_steps == (build.steps[0],)
    assert build.failed_step.output == "last words\n"
    assert [step.ended for step in build.steps] == [True, True, True, False]
    assert build.seconds == 2.6


def test_a_terminal_that_was_redrawn_counts_once():
    again = TERMINAL.replace("2.6s", "3.1s").replace("0.4s", "0.9s")
    build = Build.parse(TERMINAL + again)

    assert len(build.steps) == 4
    assert build.steps[1].seconds == 0.9
    assert build.seconds == 3.1


def test_the_classic_builder_s_log():
    build = Build.parse(CLASSIC)

    assert names(build) == ["[maker 1/4]", "[maker 2/4]", "[stage-1 3/4]", "[stage-1 4/4]"]
    assert build.steps[1].output == "Step 4/9 : nor is this\n"
    assert [step.image_id for step in build.steps] == [
        "fe5c000a4768", "7532625b022c", None, "8532625b022c",
    ]  # fmt: skip
    assert build.cached_steps == (build.steps[3],)
    assert [step.seconds for step in build.steps] == [None] * 4
    assert build.seconds is None
    assert (build.image_id, build.tag) == ("8532625b022c", "simple:latest")
    assert build.context_bytes == 34820
    assert build.builder == "classic"


def test_the_times_that_ci_puts_before_lines_give_the_classic_builder_s_steps_theirs():
    build = Build.parse(STAMPED)

    assert [step.seconds for step in build.steps] == pytest.approx([1.0, 3.5], abs=0.001)
    assert build.seconds == pytest.approx(4.5, abs=0.001)
    assert build.failed_step == build.steps[1]


def test_podman_s_log():
    build = Build.parse(PODMAN)

    assert names(build) == ["[maker 1/2]", "[maker 2/2]", "[stage-1 1/2]", "[stage-1 2/2]"]
    assert build.steps[1].output == "hello\n"
    assert build.cached_steps == (build.steps[3],)
    assert len(build.steps[3].image_id) == 64
    assert build.tag == "t/x:1"
    assert build.builder == "podman"


def test_an_old_builder_s_log_is_numbered_from_1():
    assert names(Build.parse(OLD)) == ["[1/2]", "[2/2]"]


@pytest.mark.parametrize("text", ["", "\n\n", "hello\nworld", "make: *** [all] Error 2\n[1/2] x"])
def test_other_texts_are_refused_with_what_was_looked_for(text):
    with pytest.raises(BuildLogUnreadable, match=r"=> \[2/4\] RUN.*(it begins with|it is empty)"):
        Build.parse(text)


def test_of_endless_output_the_end_is_kept():
    text = CLASSIC.replace(
        " ---> Running in 5f0c6a2b8f1d\n",
        " ---> Running in 5f0c6a2b8f1d\n" + "".join(f"line {n}\n" for n in range(50_000)),
    )
    output = Build.parse(text).steps[1].output
    assert 90_000 < len(output) <= MOST_OUTPUT
    assert output.startswith("(what it printed before is left out)\nline ")
    assert "line 49999\n" in output


def test_damaged_logs_give_a_build_or_that_error():
    chance = random.Random(8)
    texts = [PLAIN, PLAIN_FAILED, TERMINAL, CLASSIC, STAMPED, PODMAN, OLD]
    read = 0
    for _ in range(2000):
        text = list("".join(chance.sample(texts, 2)))
        for _ in range(chance.randrange(1, 60)):
            place = chance.randrange(len(text) + 1)
            text[place : place + chance.randrange(20)] = chance.choice(
                ["", "\n", "[", "#1 ", "9/", "9"]
            )
        try:
            read += len(Build.parse("".join(text)).steps) > 0
        except BuildLogUnreadable:
            continue
    assert read > 1000


# --- the Dockerfile with our label ---------------------------------------------------------------


def test_the_label_follows_each_from_and_nothing_else():
    text = "\n".join([
        "# FROM a comment", "ARG X=1", "from alpine:$X as a", "RUN echo \\", "FROM nowhere",
        "RUN <<EOF", "FROM a heredoc", "EOF", "FROM --platform=linux/amd64 \\", "  alpine:$X",
        "COPY --from=a . .",
    ])  # fmt: skip
    marked = mark(text, {"who": 'me "and" you'})

    lines = marked.text.splitlines()
    assert [number for number, line in enumerate(lines, 1) if line.startswith("LABEL")] == [4, 12]
    assert marked.added == (4, 12)
    assert lines[3] == 'LABEL who="me \\"and\\" you"'
    assert [line for line in lines if not line.startswith("LABEL")] == text.splitlines()
    assert [marked.original(line) for line in (3, 5, 11, 13)] == [3, 4, 10, 11]


def test_only_a_second_stage_of_the_same_base_is_told_apart():
    marked = mark("FROM a AS one\nFROM one\nFROM a\nFROM b\n", {"who": "me"})

    told = [line for line in marked.text.splitlines() if STAGE in line]
    assert told == [f'LABEL who="me" {STAGE}="2"']


def test_another_escape_character_and_comments_within_an_instruction():
    text = "# escape=`\nRUN one `\n# a comment\n\n  two\nFROM c:\\\nRUN x"
    assert [len(lines) for lines in instructions(text)] == [1, 4, 1, 1]


# --- BuildKit's messages -------------------------------------------------------------------------


def message(*fields):
    """Write a protobuf message of (number, int or bytes)."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            parts.append(varint(number << 3 | 2) + varint(len(value)) + value)
    return b"".join(parts)


def varint(value):
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts + bytes([value]))


def test_fields_of_a_protobuf_message():
    fixed = bytes([5 << 3 | 1]) + b"12345678" + bytes([6 << 3 | 5]) + b"1234"
    text = message((1, 300), (3, b"abc"), (2000, 0)) + fixed + message((7, b""))

    assert list(trace_reader.fields(text)) == [(1, 300), (3, b"abc"), (2000, 0), (7, b"")]
