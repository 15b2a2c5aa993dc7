"""A guess compared with the measured answer."""

import pytest

from labsupport import predict
from labsupport.errors import LabError


def guessed(value, **how):
    guess = predict("How many?", **how)
    guess.guess = value
    return guess


@pytest.mark.parametrize(
    ("said", "answer", "how", "met"),
    [
        (1, 1, {"within": 0}, True),
        ("2.0", 2, {"within": 0}, True),
        (145, 150, {"within": 0.1}, True),
        (134, 150, {"within": 0.1}, False),
        ("157 bytes", 157, {"within": 0, "unit": "bytes"}, True),
        ("1,000,000", 1_000_001, {"within": 0.01}, True),
        (50, 100, {"factor": 2}, True),
        (201, 100, {"factor": 2}, False),
        (-100, 100, {"factor": 2}, False),
        (0, 0, {"factor": 2}, True),
        ("yes", True, {"kind": "yes/no"}, True),
        (True, "no", {"kind": "yes/no"}, False),
        ("one", "one", {"choices": ["one", "two"]}, True),
        (2, 3, {"choices": [2, 3]}, False),
    ],
)
def test_a_guess_is_right_where_it_is_near_enough(said, answer, how, met):
    outcome = guessed(said, **how).beside(answer, says="the kernel")
    assert outcome.met is met
    assert ("as you said ✓" in repr(outcome)) is met


def test_the_answer_names_its_witness_and_both_values():
    outcome = guessed(345, within=0).beside(4_711_001, says="the registry")
    assert "you: 345 · the registry: 4,711,001 · not as you said" in repr(outcome)
    assert ">345</td>" in outcome._repr_html_()
    assert ">the registry</th>" in outcome._repr_html_()


@pytest.mark.parametrize(
    "how", [{}, {"kind": "maybe"}, {"choices": "ab"}, {"within": 0, "factor": 2}],
)  # fmt: skip
def test_a_question_without_one_way_to_answer_is_refused(how):
    with pytest.raises(LabError, match=r"choices=|within="):
        predict("?", **how)


def test_an_answer_that_nobody_could_have_chosen_is_an_error():
    with pytest.raises(LabError, match="among the choices: they are: yes, no"):
        predict("?", kind="yes/no").beside("perhaps")
    with pytest.raises(LabError, match="'many' is not a number"):
        predict("?", within=0).beside("many")


def test_the_control_notes_a_guess_and_is_closed_by_the_answer():
    guess = predict("How long?", within=0.1, unit="ms")
    widget = guess._widget
    assert widget.status == "Right within 10%."
    widget.guess = "95"
    assert guess.guess == 95
    assert widget.status == "Noted: 95. Now run the next cell."
    widget.guess = ""
    assert guess.guess is None


def test_a_page_that_is_saved_shows_the_question_and_the_ways_to_answer():
    bundle = predict("Which?", choices=["<one>", "two"])._bundle()
    assert bundle["text/plain"] == "Which?\nYour guess: <one> / two"
    assert "&lt;one&gt; / two" in bundle["text/html"]
