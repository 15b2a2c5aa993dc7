"""The lamps, the bars and the comparison say what their data say."""

from dataclasses import replace

from labsupport.handmade.breakouts import Lights, Poster
from labsupport.handmade.side_by_side import Portrait, compare, differing
from tests.handmade.samples import LIGHTS


def test_what_changed_is_named_with_its_evidence():
    assert LIGHTS.finding().endswith("New: mounts")
    assert LIGHTS.told() == ["mounts:  try mounts  →  evidence of mounts"]
    assert Lights(LIGHTS.lights, LIGHTS.lights).told() == []


def test_what_was_lent_is_told_and_does_not_shine():
    lent = replace(LIGHTS.lights[0], lent=True)
    lights = Lights((lent, *LIGHTS.lights[1:]), LIGHTS.before, ("own_mounts",), ("own_mounts",))
    assert lights.told()[-1] == "lent, since your line is still missing: own_mounts"
    assert "mounts: lent" in lights.words()
    poster = Poster((LIGHTS, lights))
    assert poster.finding().endswith("0 of 1 lines are yours")


def test_a_comparison_marks_what_differs():
    ours = Portrait(
        own=frozenset({"pid"}), root_is=0, capabilities=8, no_new_privs=True, filters=1, hidden=(),
        read_only=(), devices=("null", "tty", "zero"), root="a folder on ext4", cgroup="/",
    )  # fmt: skip
    both = {"ours": ours, "theirs": replace(ours, root_is=100000)}
    assert differing(both) == ["root inside is, outside"]
    table = compare(both)
    assert table.finding == "1 of 10 things differ between ours, theirs"
    assert table.rows[1][:3] == ("≠ root inside is, outside", "user 0: root", "user 100000")
    assert table.rows[7][:2] == ("= in /dev", "3: null, tty …")
