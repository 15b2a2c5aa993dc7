"""The network map and the bandwidth picture: what they say of given data."""

import pytest
from matplotlib.transforms import Bbox

from labsupport.figure import style
from labsupport.net import network_map as view
from labsupport.net import traffic
from labsupport.net.network_map import Network, arrange
from labsupport.sandbox.net import Rule
from tests.figure import sheet
from tests.net.samples import BRIDGED, DOWNLOADS, FULL, LO, PAIRS, WORDY, eth, snapshot  # fmt: skip

TWO = snapshot([Network("a", 1, (LO,)), Network("b", 2, (LO,))])
DNAT = Rule("prerouting", "tcp dport 8080 dnat to 10.0.0.2:80")
PUBLISHED = snapshot([Network("a", 1, (LO,), rules=(DNAT,))])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (PAIRS, "10.0.0.2 twice, on separate networks: no conflict"),
        (BRIDGED, "10.0.0.2 twice on one network: a conflict"),
        (TWO, "2 networks, 0 cables"),
        (PUBLISHED, "Ports of a: 8080 leads to 10.0.0.2:80"),
    ],
)
def test_the_finding_is_what_matters_most(data, found):
    assert view.finding(data) == found


def test_all_that_is_known_is_in_the_picture_and_in_its_words():
    shown = sheet.texts(view.page(FULL))
    for said in ("web", "lo    off", "eth0  10.0.0.2/24", "≤ 1 MB/s out", "→ default: 10.0.0.1",
                 "✕ tcp dport 80 drop"):  # fmt: skip
        assert said in shown
        assert said.strip() in view.words(FULL)
    assert ("web", "firewall rule", "input: tcp dport 80 drop") in view.table(FULL)


def test_the_ports_that_are_listened_at_are_shown_with_their_pages():
    shown = sheet.texts(view.page(PAIRS))
    told = {f"listens 10.0.0.2:80  “I am {name}”" for name in ("orange", "green")}
    assert told <= set(shown)
    assert ("green", "listens", "10.0.0.2:80") in view.table(PAIRS)


def test_an_address_that_two_have_on_one_network_is_marked_and_on_two_it_is_not():
    marked = [line for line in sheet.lines(view.page(BRIDGED)) if line.words.startswith("✕ ")]
    assert [line.words for line in marked] == ["✕ eth0  10.0.0.2/24"] * 2
    assert {line.colour for line in marked} == {style.KERNEL}
    assert not [text for text in sheet.texts(view.page(PAIRS)) if "✕" in text]


def is_broken(look):
    return "stroke-dasharray" in look


def test_a_cable_is_broken_unless_both_ends_are_on():
    assert [is_broken(look) for _, look in sheet.ways(view.page(PAIRS))] == [False, False]
    off = eth("10.0.0.2/24", up=False, carrier=False)
    networks = [PAIRS["client orange"], Network("orange", 20, (LO, off))]
    page = view.page(snapshot(networks, PAIRS.cables[:1]))
    assert [is_broken(look) for _, look in sheet.ways(page)] == [True]
    assert "eth0  10.0.0.2/24  off" in sheet.texts(page)


@pytest.mark.parametrize("data", [BRIDGED, PAIRS])
def test_boxes_do_not_overlap_and_stay_on_the_page(data):
    places, height = arrange(data)
    assert len(places) == len(data.networks)
    boxes = [Bbox.from_bounds(at.left, at.top, at.width, at.height) for at in places]
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= 100
        assert 0 <= box.y0 < box.y1 < height
        assert box.count_overlaps(boxes) == 1  # with itself


def test_nothing_that_is_written_leaves_its_box():
    page = view.page(WORDY)
    places, _ = arrange(WORDY)
    unit = page.pixels / page.width
    for line in sheet.lines(page)[2:]:
        left, end, base = (at / unit for at in (line.left, line.right, line.baseline))
        inside = [p for p in places if p.left <= left < p.left + p.width and
                  p.top <= base <= p.top + p.height]  # fmt: skip
        assert inside
        assert end <= inside[0].left + inside[0].width, line


def test_measured_and_limit_stand_side_by_side():
    shown = set(sheet.texts(traffic.page(DOWNLOADS)))
    assert {"limit 1 MB/s", "measured 0.96", "limit 2 MB/s", "measured 1.90"} <= shown
    assert "at most 5 % off" in traffic.finding(DOWNLOADS)
    assert traffic.table(DOWNLOADS)[1] == ("1", "0.96", "96%")
