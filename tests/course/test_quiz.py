"""The quiz: what a student reads, and that each question has one answer."""

import html.parser

import pytest

from labsupport.course import quiz
from labsupport.course.quiz import HISTORY, Answer, Question, Quiz


@pytest.mark.parametrize("question", HISTORY.questions, ids=lambda each: each.question)
def test_one_answer_is_right_and_each_says_why(question):
    assert sum(each.correct for each in question.answers) == 1
    assert all(each.feedback for each in question.answers)


def test_the_right_answer_has_no_usual_place():
    assert len({[a.correct for a in q.answers].index(True) for q in HISTORY.questions}) > 1


def test_an_answer_unfolds_and_says_whether_it_is_right():
    class Reader(html.parser.HTMLParser):
        read: list[tuple[str, str]] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            self.tag = tag

        def handle_data(self, data):
            self.read.append((self.tag, data))

    Reader().feed(Quiz((Question("Why?", (Answer("a <b>", True, "so"),)),))._repr_html_())
    assert Reader.read == [("b", "Why?"), ("summary", "a <b>"), ("p", "✓ Right: so")]


def test_its_text_gives_nothing_away():
    shown = repr(HISTORY)
    assert quiz.HISTORY.questions[0].question in shown
    assert "✓" not in shown
