"""What checking does whatever the exercise is about."""

from labsupport.course.exercises import Exercise, Verdict


class SoonDone(Exercise):
    name, hints, moment = "00.1", ("", ""), 5.0
    after = 3

    def begin(self):
        self.looks = 0

    def look(self):
        self.looks += 1
        return Verdict(self.looks > self.after, f"look {self.looks}")

    def task(self):
        return "wait"

    def answer(self):
        return ""


def test_what_was_just_killed_is_given_a_moment():
    exercise = SoonDone(1)
    exercise.start()
    assert exercise.check()
    assert exercise.looks == SoonDone.after + 1


def test_without_a_moment_one_look_decides(monkeypatch):
    monkeypatch.setattr(SoonDone, "moment", 0.0)
    exercise = SoonDone(1)
    exercise.start()
    assert not exercise.check()
    assert exercise.looks == 1
