"""Exercises of 09: typical wrong answers get their reason (30 s)."""

import pytest

pytestmark = pytest.mark.usefixtures("an_engine")


def greeter(begun, *lines):
    exercise = begun("09.1")
    words = {"greeting": exercise.greeting, "default": exercise.default}
    text = "\n".join(["FROM labsupport/busybox", *(line % words for line in lines)])
    exercise.bench.build(text, "greeter")
    return exercise.check()


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
    verdict = greeter(begun, *lines)
    assert not verdict
    assert said in verdict.saw


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
    verdict = exercise.check()
    assert not verdict
    assert said in verdict.saw


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


def service(begun, change):
    exercise = begun("09.3")
    exercise.bench.build(change(exercise), "service")
    return exercise.check()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.dockerfile, "names no user"),
        (lambda e: e.dockerfile + "USER 0\n", "not "),
        (lambda e: e.dockerfile + f"USER {e.user}\n", "has ended"),
        (lambda e: e.dockerfile + "RUN chmod 777 /srv/*\nUSER 77\n", "user 77"),
        (lambda e: e.dockerfile + f"RUN chmod -R 777 /srv\nUSER {e.user}\n", "others may write"),
        (
            lambda e: e.dockerfile.replace(
                'CMD ["service"]', f'CMD ["sh", "-c", "touch /srv/{e.folder}/state; '
                f'setuidgid {e.user} true; service"]'),
            "names no user",
        ),
    ],
)  # fmt: skip
@pytest.mark.wrong("09.3")
def test_a_service_that_is_still_root_or_cannot_write(begun, change, said):
    verdict = service(begun, change)
    assert not verdict
    assert said in verdict.saw


@pytest.mark.wrong("09.3")
def test_a_file_that_root_wrote_while_building_is_told(begun):
    verdict = service(
        begun,
        lambda e: e.dockerfile.replace(
            'CMD ["service"]',
            f"RUN touch /srv/{e.folder}/state && chmod 666 /srv/{e.folder}/state\n"
            f'USER {e.user}\nCMD ["service"]',
        ),
    )
    assert "is not user" in verdict.saw
