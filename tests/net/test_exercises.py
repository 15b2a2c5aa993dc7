"""Exercises of 04: typical wrong answers get their reason."""

import signal

import pytest

from labsupport.net import exercises
from labsupport.net.exercises import FAULTS
from tests.fixtures_course import refused, variant


def nft(box, text):
    assert box.run(["nft", "-f", "-"], input=text).returncode == 0


def plugged(exercise, address):
    exercise.switch.net.plug("br0", exercise.box, address, port="mine")


def loose(exercise, address=""):
    """A cable that is not plugged into the switch."""
    exercise.switch.net.connect(exercise.box, "mine")
    if address:
        exercise.box.net.set_up("eth0", address)


def straight(exercise):
    exercise.box.net.connect(exercise.server, "eth0", "direct")
    exercise.box.net.set_up("eth0", f"{exercise.wanted}/24")
    exercise.server.net.set_up("direct", f"{exercise.server_address}/24")


def both(exercise):
    plugged(exercise, f"{exercise.wanted}/24")
    exercise.box.net.set_up("eth0", f"{exercise.server_address}/24")


def the_switch_as_well(exercise):
    plugged(exercise, f"{exercise.wanted}/24")
    exercise.switch.net.set_up("br0", f"{exercise.wanted}/24")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda e: plugged(e, "10.9.9.9/24"), "10.9.9.9/24, not {0.wanted}"),
        (lambda e: loose(e, f"{e.wanted}/24"), "not a port of br0"),
        (loose, "has no address at all, not {0.wanted}"),
        (lambda e: plugged(e, f"{e.wanted}/32"), "has {0.wanted}, but no answer"),
        (straight, "exercise.server now has: link direct"),
        (both, "not {0.wanted} alone"),
        (the_switch_as_well, "exercise.switch now has: link br0"),
    ],
    ids=["another-address", "loose", "no-address", "alone", "straight", "both", "the-switch"],
)
@pytest.mark.wrong("04.1")
def test_another_way_to_the_server_is_told(begun, answer, said):
    exercise = begun("04.1", 5)
    answer(exercise)
    refused(exercise, said.format(exercise))


def test_the_lines_of_the_lesson_join_it_too(begun):
    exercise = begun("04.1", 5)
    exercise.switch.run(
        f"ip link add mine type veth peer name eth0 netns {exercise.box.pid}; "
        "ip link set mine master br0 up"
    )
    exercise.box.run(f"ip address add {exercise.wanted}/24 dev eth0; ip link set eth0 up")
    assert exercise.check()


def with_fault(begun, fault):
    return variant(begun, "04.2", lambda exercise: exercise._fault, fault)


@pytest.fixture
def soon(monkeypatch):
    """Make the check wait for a second, for an answer that does not come."""
    with monkeypatch.context() as patched:
        patched.setattr(exercises, "PATIENCE_SECONDS", 1)
        yield patched


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_and_one_repair_mends_it(begun, fault, soon):
    exercise = with_fault(begun, fault)
    assert not exercise.check()
    soon.undo()
    box, line = FAULTS[fault]
    getattr(exercise, box).run(line)
    assert exercise.check()


def test_a_default_route_mends_a_missing_one(begun):
    exercise = with_fault(begun, "no route")
    exercise.client.run("ip route add default via 10.0.1.254")
    assert exercise.check()


@pytest.mark.wrong("04.2")
def test_moving_the_server_to_the_client_is_refused(begun):
    exercise = with_fault(begun, "no route")
    exercise.client.net.connect(exercise.server, "eth1", "eth1")
    exercise.client.net.set_up("eth1", "10.0.2.1/24")
    exercise.server.net.set_up("eth1", "10.0.2.3/24")
    exercise.server.run("ip route replace 10.0.2.1 dev eth1")
    assert "more than the fault changed: exercise.client now has: link eth1" in exercise.check().saw


@pytest.mark.wrong("04.2")
@pytest.mark.parametrize("fault", ["no route", "no forwarding"])
def test_mending_everything_is_refused(begun, fault):
    exercise = with_fault(begun, fault)
    for box in (exercise.client, exercise.router, exercise.server):
        box.run("for link in lo eth0 left right; do ip link set $link up; done")
        box.run("sysctl -w net.ipv4.ip_forward=1")
    exercise.router.run("ip address add 10.0.1.254/24 dev left")
    exercise.client.run("ip route add default via 10.0.1.254")
    exercise.server.run("ip route add default via 10.0.2.254")
    refused(exercise, "more than the fault changed")


TABLE = "table inet t { chain c { type filter hook %s priority 0; tcp dport %s drop; }; }"


@pytest.mark.needs("nftables")
@pytest.mark.wrong("04.3", times=2)
def test_a_filter_that_lets_all_or_nothing_through_is_told(begun, soon):
    exercise = begun("04.3", 2)
    nft(exercise.server, TABLE % ("input", "1-65535"))
    assert "ports [] answer" in exercise.check().saw
    exercise.server.run(["nft", "flush", "ruleset"])
    nft(exercise.server, TABLE % ("input", "1"))
    assert f"ports {exercise.ports} answer" in exercise.check().saw


@pytest.mark.needs("nftables")
@pytest.mark.wrong("04.3", times=2)
def test_a_filter_the_wrong_way_round_or_in_the_wrong_place_is_told(begun, soon):
    exercise = begun("04.3", 2)
    others = [port for port in exercise.ports if port != exercise.wanted]
    nft(exercise.client, TABLE % ("output", f"!= {exercise.wanted}"))
    assert "exercise.client now has: rule" in exercise.check().saw
    exercise.client.run(["nft", "flush", "ruleset"])
    nft(exercise.server, TABLE % ("input", exercise.wanted))
    assert f"ports {others} answer, and it should be {exercise.wanted}" in exercise.check().saw


@pytest.mark.needs("nftables")
@pytest.mark.wrong("04.3")
def test_ending_the_other_servers_is_refused_with_or_without_a_rule(begun):
    exercise = begun("04.3", 2)
    for place, serving in exercise._serving.items():
        if place != f"10.0.0.2:{exercise.wanted}":
            serving.process.signal(signal.SIGTERM)
            serving.process.wait(60)
    assert "exercise.server no longer has: a server at" in exercise.check().saw
    nft(exercise.server, TABLE % ("input", "1"))
    assert "exercise.server no longer has: a server at" in exercise.check().saw
