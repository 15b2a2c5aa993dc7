"""What notebooks that were killed leave in an engine (a private one; 5 s)."""

import io

from labsupport.build.bases import base_image
from labsupport.engine import listing
from labsupport.ownership import marks

DEAD = f"999999999:1:{marks.mark().rpartition(':')[2]}"


def container(engine, value, **options):
    return engine.client.containers.create(
        base_image(engine), ["sleep", "600"], network_mode="none",
        labels={listing.OWNER: value}, **options,
    )  # fmt: skip


def test_only_what_a_dead_owner_of_this_machine_left_is_removed(engine):
    ours = listing.owner_labels()[listing.OWNER]
    left = container(engine, DEAD)
    left.start()
    kept = [
        container(engine, ours),
        container(engine, f"{DEAD}@another-boot/4026531836"),
        container(engine, listing.COURSE),
        engine.client.containers.create(base_image(engine), network_mode="none"),
    ]
    gone, *networks = [
        engine.client.networks.create(f"n{number}", labels=labels)
        for number, labels in enumerate([{listing.OWNER: DEAD}, {listing.OWNER: ours}, {"a": "b"}])
    ]

    found = list(listing.find_in(engine.client))
    assert [each.what for each in found] == [f"container {left.name}", f"network {gone.name}"]
    for each in [*found, *found]:  # as when two notebooks sweep at once
        each.remove()

    there = {each.id for each in engine.client.containers.list(all=True, ignore_removed=True)}
    assert there == {each.id for each in kept}
    assert {each.name for each in networks} <= {each.name for each in engine.client.networks.list()}
    for each in [*kept, *networks]:
        each.remove()


def build(engine, value, *lines, tag=None):
    """Build an image whose owner is `value`; the builder leaves one for each line."""
    dockerfile = "\n".join([f"FROM {base_image(engine).tags[0]}", *lines])
    image, _ = engine.client.images.build(
        fileobj=io.BytesIO(dockerfile.encode()), tag=tag, labels={listing.IMAGE_OWNER: value},
        network_mode="none", rm=True,
    )  # fmt: skip
    return image


def test_only_images_of_a_dead_owner_are_removed(engine):
    ours = marks.mark()
    kept = {base_image(engine).id, build(engine, ours, "ENV A=ours").id}
    before = {each.id for each in engine.client.images.list(all=True)}
    marked = f'LABEL {listing.IMAGE_OWNER}="{DEAD}"'  # also the images of the steps
    left = build(engine, DEAD, marked, "ENV B=left", "ENV C=left", tag="labsupport/left")
    used = build(engine, DEAD, "ENV D=used")
    container = engine.client.containers.create(used, network_mode="none")  # a student's own
    engine.client.containers.create(left, auto_remove=True)  # its `docker run --rm` was killed

    found = list(listing.find_in(engine.client))
    assert [each.what.split()[0] for each in found[:2]] == ["container", "image"]
    assert found[1].what == "image labsupport/left:latest"
    for each in [*found, *found]:  # as when two notebooks sweep at once
        each.remove()

    there = {each.id for each in engine.client.images.list(all=True)}
    assert left.id not in there
    assert {used.id, *kept} <= there
    container.remove()  # it is still there, though its image is a dead owner's
    for each in listing.find_in(engine.client):
        each.remove()
    engine.client.images.remove(next(iter(kept - {base_image(engine).id})))
    assert {each.id for each in engine.client.images.list(all=True)} <= before
