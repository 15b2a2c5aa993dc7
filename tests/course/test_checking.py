"""What checking does, whatever the exercise is about."""

from labsupport import Sandbox
from labsupport.course.exercises import Exercise, Verdict
from labsupport.kernel.procfs import all_pids


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


class InABox(SoonDone):
    name = "00.2"

    def begin(self):
        self.box = Sandbox(new={"uts"}).open()


def test_a_student_who_goes_on_leaves_no_earlier_scene():
    first = InABox(1)
    first.start()
    left = first.box.holder_pid
    SoonDone(1).start()
    assert left not in all_pids()
