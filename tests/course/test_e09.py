"""Exercises of 09: the right answer passes, typical wrong ones get their reason (40 s)."""

import pytest

from labsupport import Exercise
from labsupport.engine.client import Engine
from labsupport.engine.labels import owner_labels

pytestmark = pytest.mark.usefixtures("an_engine")
NUMBERS = ("09.1", "09.2", "09.3")
every = pytest.mark.parametrize("number", NUMBERS)


@every
@pytest.mark.untouched(*NUMBERS)
def test_an_untouched_start_is_refused(begun, number):
    verdict = begun(number).check()
    assert not verdict
    assert "yet" in verdict.saw


@pytest.mark.parametrize("seed", [1, 2])
@every
@pytest.mark.right(*NUMBERS)
def test_the_solution_passes(begun, number, seed):
    exercise = begun(number, seed)
    exec(exercise.solution().body, {"exercise": exercise})
    verdict = exercise.check()
    assert verdict, verdict


@every
def test_seeds_vary_the_task_and_repeat_it(begun, number):
    bodies = [begun(number, seed).start().body for seed in range(4)]
    assert len(set(bodies)) > 1
    assert begun(number, 3).start().body == bodies[3]


@every
def test_there_are_two_hints(number):
    exercise = Exercise.of(number)
    assert exercise.hint().body != exercise.hint().body


def test_stopping_leaves_nothing(begun):
    exercise = begun("09.2")
    exercise.bench.build("FROM labsupport/busybox", "mine")
    exercise.stop()
    with Engine.connect() as engine:
        assert engine.client.containers.list(all=True, filters={"label": _ours()}) == []
        assert engine.client.images.list(all=True, filters={"label": _ours()}) == []
    assert not exercise.bench.folder.exists()


def _ours():
    return [f"{key}={text}" for key, text in owner_labels().items()]


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
        (lambda e: e.decoy, "as it was"),
        (lambda e: e.added, "was added"),
        (lambda e: e.deleted, "was deleted"),
        (lambda e: "/srv/shelf", "is a folder"),
        (lambda e: "/tmp/text", "as it was"),
    ],
)
@pytest.mark.wrong("09.2")
def test_a_file_that_is_not_the_changed_one(begun, answer, said):
    exercise = begun("09.2")
    exercise.found = answer(exercise)
    verdict = exercise.check()
    assert not verdict
    assert said in verdict.saw


def test_size_and_time_do_not_give_the_changed_file_away(begun):
    exercise = begun("09.2")
    listings = [
        exercise.bench.run("shelf", "stat", "-c", "%s %Y", exercise.changed).output,
        _stat_in_layer(exercise),
    ]
    assert listings[0].split()[0] == listings[1].split()[0]


def _stat_in_layer(exercise):
    """Size of the changed file in the ended container, out of its archive."""
    _, stat = exercise.container.get_archive(exercise.changed)
    return f"{stat['size']}"


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
