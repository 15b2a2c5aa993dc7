"""Shared memory segments belong to an IPC namespace."""

from labsupport import Sandbox, segments


def test_a_segment_is_seen_in_its_namespace_only_and_outlives_its_maker():
    before = segments()
    with Sandbox(new={"ipc"}) as box, Sandbox(new={"ipc"}) as other:
        assert segments(of=box) == []
        maker = box.start(["ipcmk", "--shmem", "8192"])
        maker.wait()
        [made] = segments(of=box)
        assert segments(of=other) == []
        assert made not in segments()
    assert (made.size_bytes, made.attached) == (8192, 0)
    assert segments() == before


def test_a_segment_is_told_in_words():
    with Sandbox(new={"ipc"}) as box:
        box.run(["ipcmk", "--shmem", "4096"])
        assert "4096 bytes" in repr(segments(of=box)[0])
