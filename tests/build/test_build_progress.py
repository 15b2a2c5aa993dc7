"""The view of a build that goes on, on a private engine: it ends when it should, and says how."""

import asyncio
import threading

import pytest

from labsupport.build.build_progress import BuildProgress, _in_thread
from labsupport.errors import BuildFailed, LabError

PATIENCE_SECONDS = 30


@pytest.fixture
def left(monkeypatch):
    """What is left in the cell's output, as the notebook would save it."""
    outputs = []

    class Output:
        def update(self, data, raw):
            outputs.append(data)

    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Output())
    return outputs


def view(engine, *lines, **options):
    text = "\n".join(["FROM labsupport/busybox", *lines])
    return BuildProgress(engine, {"Dockerfile": text}, network="none", cache=False, **options)


async def until_it_prints(progress, words):
    for _ in range(PATIENCE_SECONDS * 10):
        if words in progress.widget.lines:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(progress.widget.lines)


def test_the_loop_goes_on_while_it_builds_and_the_chart_stays(engine, left):
    seen = []

    async def main():
        progress = view(engine, "RUN echo early; sleep 1", "RUN echo late", tag="t/view:1")
        progress.widget.observe(lambda change: seen.append(change["new"]), "status")
        building = asyncio.ensure_future(progress.run())
        await until_it_prints(progress, "early")
        assert progress.widget.running
        assert [step["state"] for step in progress.widget.steps] == ["done", "running", "waiting"]
        return await building, progress

    build, progress = asyncio.run(main())
    assert engine.client.images.get("t/view:1").id == build.image_id
    assert "step [2/3] RUN echo early; sleep 1" in seen
    assert not progress.widget.running
    assert [step["state"] for step in progress.widget.steps] == ["done"] * 3
    assert "Step 2 took" in progress.widget.status
    assert "early" in progress.widget.lines
    assert {"text/html", "image/png", "text/plain"} <= set(left[-1])
    assert "Step [2/3] RUN echo early; sleep 1: " in left[-1]["text/plain"]


def test_stop_ends_the_build(engine, left):
    async def main():
        progress = view(engine, "RUN echo go; sleep 60")
        building = asyncio.ensure_future(progress.run())
        await until_it_prints(progress, "go")
        progress.widget.stopping = True
        with pytest.raises(BuildFailed, match=r"step \[2/2\]"):
            await building
        return progress

    progress = asyncio.run(main())
    assert engine.client.containers.list(all=True, ignore_removed=True) == []
    assert not progress.widget.running
    assert progress.widget.status.startswith("the build was stopped in step [2/2]")
    assert left[-1]["text/plain"].startswith("the build was stopped")


def test_an_interrupt_of_the_cell_ends_the_build_first(engine, left):
    async def main():
        progress = view(engine, "RUN echo go; sleep 60")
        building = asyncio.ensure_future(progress.run())
        await until_it_prints(progress, "go")
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        assert engine.client.containers.list(all=True, ignore_removed=True) == []
        assert not progress.widget.running

    asyncio.run(main())


def test_a_failure_is_raised_in_the_cell_and_its_picture_stays(engine, left):
    progress = view(engine, "RUN echo oh; exit 7")
    with pytest.raises(BuildFailed, match="exit status 7"):
        asyncio.run(progress.run())

    assert progress.widget.steps[-1]["state"] == "failed"
    assert "oh" in progress.widget.lines
    assert "FAILED" in left[-1]["text/plain"]


def test_what_is_wrong_beforehand_is_told_without_a_picture(engine, left):
    with pytest.raises(LabError, match="there is no Dockerfile"):
        asyncio.run(BuildProgress(engine, {}).run())
    assert left == []


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_build_that_ends_after_its_notebook_says_nothing():
    # a traceback that a thread writes while Python ends may abort it
    go_on = threading.Event()

    def work():
        go_on.wait()
        raise LabError("too late")

    async def begin():
        _in_thread(work)

    asyncio.run(begin())
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "build":
            thread.join(5)
