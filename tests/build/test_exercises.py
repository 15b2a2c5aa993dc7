"""Exercises of 09: typical wrong answers get their reason (30 s)."""

import pytest

from tests.fixtures_course import refused

pytestmark = pytest.mark.usefixtures("an_engine")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['ENTRYPOINT /bin/echo "%(greeting)s %(default)s"'], "shell form"),
        (["ENTRYPOINT ['/bin/echo', '%(greeting)s']", 'CMD ["%(default)s"]'], "double quotes"),
        (['CMD ["/bin/echo", "%(greeting)s", "%(default)s"]'], "no ENTRYPOINT"),
        (['ENTRYPOINT ["/bin/echo", "%(greeting)s", "%(default)s"]'], "does not replace"),
        (['ENTRYPOINT ["/bin/echo", "%(greeting)s"]'], "no CMD"),
        (['ENTRYPOINT ["/bin/echo", "Hi"]', 'CMD ["%(default)s"]'], "says “Hi"),
        (['ENTRYPOINT ["ecco", "%(greeting)s"]', 'CMD ["%(default)s"]'], "exit status 127"),
    ],
)
@pytest.mark.wrong("09.1")
def test_a_greeter_that_does_not_obey(begun, lines, said):
    exercise = begun("09.1")
    words = {"greeting": exercise.greeting, "default": exercise.default}
    text = "\n".join(["FROM labsupport/busybox", *(line % words for line in lines)])
    exercise.bench.build(text, "greeter")
    refused(exercise, said)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda e: e._decoy, "as it was"),
        (lambda e: e._added, "was added"),
        (lambda e: e._deleted, "was deleted"),
        (lambda e: "/srv/shelf", "is a folder"),
        (lambda e: "/tmp/text", "has no file"),
    ],
)
@pytest.mark.wrong("09.2")
def test_a_file_that_is_not_the_changed_one(begun, answer, said):
    exercise = begun("09.2")
    exercise.found = answer(exercise)
    refused(exercise, said)


@pytest.mark.wrong("09.2")
def test_a_container_that_has_gone_is_told(begun):
    exercise = begun("09.2")
    exercise.found = exercise._changed
    exercise.container.remove()
    assert "has been removed" in exercise.check().saw


def test_its_size_does_not_give_the_changed_file_away(begun):
    exercise = begun("09.2")
    now = exercise.bench.run("shelf", "stat", "-c", "%s", exercise._changed).output
    _, then = exercise.container.get_archive(exercise._changed)
    assert int(now) == then["size"]


def writing(exercise, lines):
    """Return its Dockerfile with these lines before what it starts."""
    lines = lines.format(file=f"/srv/{exercise.folder}/state", user=exercise.user)
    return exercise.dockerfile.replace('CMD ["service"]', lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.dockerfile, "names no user"),
        (lambda e: e.dockerfile + "USER 0\n", "not "),
        (lambda e: e.dockerfile + f"USER {e.user}\n", "has ended"),
        (lambda e: e.dockerfile + "RUN chmod 777 /srv/*\nUSER 77\n", "user 77"),
        (lambda e: e.dockerfile + f"RUN chmod -R 777 /srv\nUSER {e.user}\n", "others may write"),
        (lambda e: writing(e, 'CMD ["sh", "-c", "touch {file}; setuidgid {user} true; service"]'),
         "names no user"),
        (lambda e: writing(e, "RUN touch {file} && chmod 666 {file}\n"
                              'USER {user}\nCMD ["service"]'), "is not user"),
    ],
)  # fmt: skip
@pytest.mark.wrong("09.3")
def test_a_service_that_is_still_root_or_cannot_write(begun, change, said):
    exercise = begun("09.3")
    exercise.bench.build(change(exercise), "service")
    refused(exercise, said)
