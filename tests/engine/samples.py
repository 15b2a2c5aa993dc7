"""Pictures of this room, from plain data."""

from types import SimpleNamespace

from labsupport.engine import chain as picture
from labsupport.engine.chain import ApiCall, Chain, Member, Moment

CLIENT = Member("client", 4711, "python3", "python3", (4711,), 4700, "jupyter-lab")
ENGINE = Member("engine", 812, "dockerd", "dockerd", (812,), 1, "systemd", "/run/docker.sock")
HELPER = Member(
    "containerd", 830, "containerd", "containerd", (830,), 812, "dockerd", "/run/containerd.sock"
)
SHIM = Member("shim", 4801, "containerd-shim", "shim", (4801,), 1, "systemd", "/s/" + 64 * "a")
SLEEP = Member("process", 4820, "sleep", "sleep 9", (4820, 1), 4801, "containerd-shim")
BEFORE, RUNNING = (CLIENT, ENGINE, HELPER), (CLIENT, ENGINE, HELPER, SHIM, SLEEP)


def call(number, method, path, status):
    return ApiCall(number, method, f"/v1.41/containers/{path}", status, 0.034)


def chain(*moments, elsewhere=""):
    api = SimpleNamespace(hooks={"response": []})
    made = Chain(SimpleNamespace(client=SimpleNamespace(api=api), address="unix:///x"))
    made.moments = [Moment(*each) for each in moments]
    made.elsewhere = elsewhere
    return made


IDENTITY = "3fa07c" + "0" * 58
CREATED = (call(1, "POST", "create", 201), BEFORE)
STARTED = (call(2, "POST", f"{IDENTITY}/start", 204), RUNNING)
REMOVED = (call(3, "DELETE", f"{IDENTITY}?force=1", 204), RUNNING)
WHOLE = chain(CREATED, STARTED, REMOVED, (None, BEFORE))
ELSEWHERE = chain(CREATED, elsewhere="the engine at unix:///x runs on another kernel (6.0)")


def of_chain(made):
    return picture.page(made), picture.words(made), picture.table(made)


PAGES = {"chain": lambda: of_chain(WHOLE), "chain-elsewhere": lambda: of_chain(ELSEWHERE)}
