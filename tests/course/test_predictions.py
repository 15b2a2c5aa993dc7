"""A guess beside the measured answer."""

from labsupport import predict


def test_a_right_guess_is_met_whatever_its_type():
    assert predict("?", "1").beside(1).met is True


def test_a_wrong_guess_is_told_with_both_values():
    outcome = predict("Which number?", 345).beside(4711)
    assert outcome.met is False
    assert "345" in repr(outcome)
    assert "4711" in repr(outcome)
    assert "<td>345</td>" in outcome._repr_html_()


def test_no_guess_is_allowed_and_counted_as_such():
    outcome = predict("?").beside(1)
    assert outcome.met is None
    assert "no guess" in repr(outcome)


def test_what_a_student_types_cannot_become_markup():
    assert "<script>" not in predict("?", "<script>").beside(1)._repr_html_()
