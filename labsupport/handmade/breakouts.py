"""Ten attempts to break out of a container, made inside it; each ends in a light, on or off.

One busybox shell runs inside; it tries one thing after the other and prints what the kernel
answered. Meanwhile the notebook looks from outside for what came through. An attempt is judged by
what was printed and what was seen, not by how the container was built. The picture is a row of
lamps, one for each way out; a lamp is on if the container kept the attempt in. The poster
sets all rows below each other, from the process to the container.
"""

import os
import secrets
import signal
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path

from labsupport.errors import LabError, TimedOut
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.handmade import building
from labsupport.handmade.building import Step
from labsupport.handmade.workshop import HOST_NAME, Workshop
from labsupport.kernel import proc
from labsupport.kernel.procfs import status_fields
from labsupport.net import servers

CHILDREN = 30
HARMED = "what it was after is gone outside: the host was harmed"
_PATIENCE_SECONDS = 30.0
_USED_INSIDE = 9  # when the first thing is tried, a container has only just begun to count
_END = "== end"

LINE = 2.3  # from one line of words to the next; the pictures are 100 units wide
_EVIDENCE = 26.6  # the lines of evidence begin here
_WRAP = 92  # characters
_UNIT = 11  # pixels of the poster; whole ones between lamps keep the file small
_TOP, _ROW, _COLUMN = 10.5, 60 / _UNIT, 80 / _UNIT  # where its lamps begin, and how far apart


Targets = Mapping[str, str]
"""What there is outside to break out to, as the attempts find it in their environment."""


@dataclass(frozen=True)
class Outcome:
    """What an attempt printed inside, its exit status, and what is outside meanwhile."""

    said: str
    status: int
    targets: Targets
    outside: Mapping[str, str]

    @property
    def last(self) -> str:
        """Its last line: an error message, as a rule."""
        return (self.said.strip().splitlines() or ["nothing was printed"])[-1].strip()

    @property
    def numbers(self) -> int:
        """How many numbers it printed."""
        return sum(map(str.isdigit, self.said.split()))


@dataclass(frozen=True)
class Attempt:
    """One attempt: `code` for the shell inside, `shown` how we write it.

    `step` is the one of the nine that is there to keep it in. Two judge it: `out` says in words how
    it got out, "" if it did not, and `held` what kept it in.
    """

    name: str
    words: str
    step: str
    code: str
    shown: str
    out: Callable[[Outcome], str]
    held: Callable[[Outcome], str] = attrgetter("last")


# each child waits for somebody to open the gate for writing
SWARM = "n=0; while [ $n -lt $CHILDREN ]; do : < $0 & n=$((n+1)); echo $n; done"
_FETCH = "timeout 5 busybox wget -q -O - {} || echo '(no answer)'"
# where it has no card of its own, it takes the host's; then it tells everybody on the network
_STEAL = (
    "{ busybox ip address add $NEIGHBOUR/16 dev eth0 || "
    "busybox ip address add $NEIGHBOUR/32 dev lo; } && "
    "busybox arping -U -c 1 -I eth0 $NEIGHBOUR"
)

ATTEMPTS = (
    Attempt("pid", "other processes", "own_pids", 'kill -0 "$OUTSIDER"', "kill -0 PID",
            lambda o: "" if "No such process" in o.said else
            f"process {o.targets['OUTSIDER']} outside is there for it, to send signals to"),
    Attempt("mount", "mounts", "own_mounts", 'busybox mount -t tmpfs "$TOKEN" "$HERE/mnt"',
            "mount -t tmpfs … /shared/mnt",
            lambda o: o.outside["mounted"]
            and "the file system that it mounted is in the host's mount table",
            lambda o: f"it could not mount: {o.last}" if o.status else
            "it mounted something, and the host's mount table does not have it"),
    Attempt("root", "files", "own_root", 'busybox cat "$SECRET"', "cat secret.txt",
            lambda o: f"it read a file of the host, secret.txt: “{o.last}”"
            if o.targets["TOKEN"] in o.said else ""),
    Attempt("uts", "host name", "own_name", "busybox hostname", "hostname",
            lambda o: f"the host calls itself {o.outside['name']} now"
            if o.outside["name"] != HOST_NAME else
            f"it learns the host's name: {HOST_NAME}" if o.said.strip() == HOST_NAME else "",
            lambda o: f"it calls itself {o.said.strip()}, and the host is still {HOST_NAME}"),
    Attempt("ipc", "shared memory", "own_name", "busybox cat /proc/sysvipc/shm",
            "cat /proc/sysvipc/shm",
            lambda o: f"it sees the host's shared memory, key {o.targets['SEGMENT']}"
            if o.targets["SEGMENT"] in o.said.split() else "",
            lambda o: o.last if "\n" in o.said.strip() else "the list of shared memory is empty"),
    Attempt("net", "network", "own_network", 'busybox wget -q -O - "$PAGE"',
            "wget http://127.0.0.1/",
            lambda o: f"a server on the host's loopback answered it: “{o.last}”"
            if o.targets["TOKEN"] in o.said else ""),
    Attempt("user", "root outside", "own_users", 'busybox touch "$HERE/by-root"',
            "touch /shared/by-root",
            lambda o: "a file that it made as root belongs to user 0 outside: root"
            if o.outside["owner"] == "0" else "",
            lambda o: f"a file that it made as root belongs to user {o.outside['owner']} outside"),
    Attempt("capabilities", "stolen address", "few_capabilities", _STEAL,
            "ip address add NEIGHBOUR/16 dev eth0; arping -U NEIGHBOUR",
            lambda o: "" if o.targets["TOKEN"] in o.outside["neighbour"] else
            f"the host asks its neighbour, and hears: {o.outside['neighbour'].splitlines()[0]}",
            lambda o: f"{o.last}; the neighbour still answers the host"),
    Attempt("seccomp", "system calls", "own_filter",
            "busybox unshare -r busybox grep CapEff /proc/self/status",
            "unshare -r grep CapEff /proc/self/status",
            lambda o: "" if o.status else "in a user namespace that it made it has "
            f"{int(o.last.split()[-1], 16).bit_count()} capabilities again"),
    Attempt("cgroup", "many processes", "own_cgroup",
            'busybox sh -c "$SWARM" "$HERE/gate"; : <> "$HERE/gate"',
            f"start {CHILDREN} processes",
            lambda o: f"it started {o.numbers} processes, and nobody stopped it"
            if o.numbers >= CHILDREN else "",
            lambda o: f"after {o.numbers} processes: {o.last}"),
)  # fmt: skip
"""In the order of trying: `kill` first, while numbers inside are small and none is the outsider's;
the swarm last: where it is stopped, nothing else can be started."""

ORDER = ("mount", "root", "pid", "uts", "ipc", "net", "user", "cgroup", "capabilities", "seccomp")


@dataclass(frozen=True)
class Light:
    """What became of one attempt to break out.

    `held`: the container kept it in. `attempt` is the command that was tried inside, `evidence` a
    sentence made of what the kernel answered. `lent`: the step that is there for it still lacks the
    reader's line, and the course's own stood in.
    """

    name: str
    words: str
    held: bool
    attempt: str
    evidence: str
    lent: bool = False

    @property
    def word(self) -> str:
        return ("lent" if self.lent else "held") if self.held else "got out"


@dataclass(frozen=True)
class Lights:
    """The lights of one container, in the order of the steps that switch them on.

    `steps` are those that it took; for the `lent` ones our line stood in for the reader's, which is
    still missing. The picture compares them with `before`, and marks what has changed.
    """

    lights: tuple[Light, ...]
    before: tuple[Light, ...] = ()
    steps: tuple[str, ...] = ()
    lent: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Light]:
        return iter(self.lights)

    def __getitem__(self, name: str) -> Light:
        return next(light for light in self.lights if light.name == name)

    @property
    def held(self) -> set[str]:
        """The names of the lights that are on."""
        return {light.name for light in self.lights if light.held}

    def changed(self) -> list[Light]:
        """The lights that are not as they were."""
        was = {light.name: light.held for light in self.before}
        return [light for light in self if was.get(light.name, light.held) != light.held]

    def finding(self) -> str:
        count, held = len(self.lights), len(self.held)
        text = {0: f"All {count} attempts break out", count: f"All {held} are kept in"}
        said = text.get(held, f"{held} of {count} attempts {'is' if held == 1 else 'are'} kept in")
        new = [light.words for light in self.changed() if light.held]
        return f"{said}. New: {', '.join(new)}" if new else said

    def words(self) -> str:
        new = self.changed() if self.before else self.lights
        parts = [f"{each.words}: {each.word} ({each.evidence})." for each in new]
        same = [f"{each.words}: {each.word}." for each in self if each not in new]
        return " ".join([f"{self.finding()}.", *parts, *same])

    def table(self) -> list[tuple[object, ...]]:
        rows = [(each.name, each.words, each.attempt, each.word, each.evidence) for each in self]
        return [("kind", "what", "attempt inside", "light", "evidence"), *rows]

    def told(self) -> list[str]:
        """The lines below the row: the evidence of what has changed, and what was lent."""
        texts = [f"{each.words}:  {each.attempt}  →  {each.evidence}" for each in self.changed()]
        if self.lent:
            whose = ", ".join(self.lent) if len(self.lent) < 4 else f"{len(self.lent)} steps"
            texts.append(f"lent, since your line is still missing: {whose}")
        return [
            line for text in texts for line in textwrap.wrap(text, _WRAP, subsequent_indent=" " * 6)
        ]

    def page(self) -> Page:
        lines = self.told()
        high = _EVIDENCE - LINE / 2 + (len(lines) + 0.6) * LINE if lines else _EVIDENCE - 0.8
        sheet = Page(high, self.finding(), inches=8)
        step = 100 / len(self.lights)
        for number, light in enumerate(self):
            x, new = step * (number + 0.5), light in self.changed()
            _draw_lamp(sheet, light, x, 11.2, 2.9, new=new)
            ink = style.INK if light.held else style.KERNEL
            sheet.text(x, 17.7, light.word, colour=ink, bold=new, centre=True)
            _draw_words(sheet, x, 20.8, light, bold=new)
        for number, line in enumerate(lines):
            sheet.text(1.6, _EVIDENCE + number * LINE, line)
        return sheet


def _draw_words(sheet: Page, x: float, y: float, light: Light, *, bold: bool = False) -> None:
    for number, part in enumerate(light.words.split(" ", 1)):
        sheet.text(x, y + number * 2.5, part, bold=bold, centre=True)


def _draw_lamp(sheet: Page, light: Light, x: float, y: float, r: float, *, new: bool) -> None:
    if light.held and not light.lent:  # it glows
        sheet.circle(x, y, 1.6 * r, fill=f"{style.FIRST}1A")
        sheet.circle(x, y, 1.35 * r, fill=f"{style.FIRST}29")
    base = (x - 0.41 * r, y + 0.86 * r, 0.82 * r, 0.66 * r)
    sheet.box(*base, fill=style.SHARED, pad=0.1, line=1.2)
    if light.lent and light.held:  # small and pale
        sheet.circle(x, y, r, style.SHARED, fill=style.FAINT)
        sheet.circle(x, y, 0.6 * r, style.INK, fill=style.FIRST, line=1)
    elif light.held:
        sheet.circle(x, y, r, style.INK, fill=style.FIRST)
    else:
        sheet.circle(x, y, r, style.SHARED, fill=style.FAINT)
        way = (x - 0.2 * r, y + 0.17 * r), (x + 1.45 * r, y - 1.14 * r)
        sheet.arrow(*way, style.KERNEL, line=0.8 * r, head=2.2 * r)
    if new:
        sheet.circle(x, y, 1.55 * r, style.INK, line=2.4)


@dataclass(frozen=True)
class Poster:
    """The rows of lights of a container that grows, from the process on; the fewest steps first."""

    rows: tuple[Lights, ...]

    def finding(self) -> str:
        last = self.rows[-1]
        steps, count = len(last.steps), len(last.lights)
        said = f"{steps} steps keep in {len(last.held)} of {count} attempts to break out"
        return f"{said}; {steps - len(last.lent)} of {steps} lines are yours"

    def new(self, row: int) -> list[str]:
        """The steps that a row has and the one before has not."""
        before = self.rows[row - 1].steps if row else ()
        return [step for step in self.rows[row].steps if step not in before]

    def words(self) -> str:
        rows = [
            f"{self._name(number)}: {', '.join(each.words for each in row if each.held) or 'none'}."
            for number, row in enumerate(self.rows)
        ]
        return " ".join([f"{self.finding()}. Kept in, after each step:", *rows])

    def table(self) -> list[tuple[object, ...]]:
        rows = [
            (self._name(number), *(each.word for each in row))
            for number, row in enumerate(self.rows)
        ]
        return [("after", *(each.words for each in self.rows[-1])), *rows]

    def page(self) -> Page:
        sheet = Page(_TOP + _ROW * len(self.rows) + 3.4, self.finding(), inches=_UNIT)
        count = len(self.rows[-1].lights)
        xs = [100 - _COLUMN * (count - number - 0.5) for number in range(count)]
        for x, light in zip(xs, self.rows[-1], strict=True):
            _draw_words(sheet, x, _TOP - 4, light)
        for number, row in enumerate(self.rows):
            y = _TOP + _ROW * (number + 0.55)
            sheet.text(1.6, y - 1, self._name(number), bold=True, mono=number > 0)
            sheet.text(1.6, y + 1.2, self._about(number), colour=style.QUIET)
            was = self.rows[number - 1].held if number else row.held
            for x, light in zip(xs, row, strict=True):
                new = light.held and light.name not in was
                _draw_lamp(sheet, light, x, y, 1.5, new=new)
        key = "large: kept in · small: by the solution's line · arrow: got out · ring: new"
        sheet.text(1.6, sheet.height - 1.6, key)
        return sheet

    def _name(self, row: int) -> str:
        return ", ".join(self.new(row)) or "a process"

    def _about(self, row: int) -> str:
        """What the step does, in the words of its solution."""
        new = self.new(row)
        about = [getattr(getattr(building, name, None), "__doc__", None) or "" for name in new]
        return about[0].partition(",")[0] if about else "no steps at all"


class ContainerLights:
    """`lights = ContainerLights(workshop)`, then `lights.of(steps)` after each step.

    Each call builds a new container and tries all ways out of it. The picture marks what has
    changed since the call before; `poster()` shows all of them.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.host = Host(workshop)
        self.last: tuple[Light, ...] = ()
        self._rows: dict[int, Lights] = {}

    def of(self, steps: Iterable[Step]) -> Lights:
        """Try, show the row, and return it; errors as for `Host.try_all`."""
        tried = self.host.try_all(steps)
        found = Lights(tried.lights, self.last, tried.steps, tried.lent)
        found.page().show(found.words(), found.table())
        self.last = found.lights
        self._rows[len(found.steps)] = found
        return found

    def poster(self) -> Poster:
        """Show the last row of lamps for each number of steps, below each other."""
        if not self._rows:
            raise LabError("there is nothing to show yet", remedy="run lights.of([]) first")
        poster = Poster(tuple(self._rows[count] for count in sorted(self._rows)))
        poster.page().show(poster.words(), poster.table())
        return poster


class Host:
    """What plays the host on a workshop's stage, and the trying itself."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self._open_gate = -1

    @cached_property
    def targets(self) -> Targets:
        """Make, once, what can be broken out to."""
        stage, token = self.workshop.stage, f"outside-{secrets.token_hex(4)}"
        secret = self.workshop.folder / "secret.txt"
        secret.write_text(f"{token}: only the host knows this\n")
        self._server = servers.web_server(f"{token}: a page for the host alone\n")
        stage.start(self._server.argv)
        stage.run(["ipcmk", "--shmem", "4096"])
        segments = stage.run(["cat", "/proc/sysvipc/shm"]).stdout.splitlines()
        page = f"http://127.0.0.1:{self._server.address[1]}/"
        self.workshop.fetch(page)  # a server that nobody can reach would prove nothing
        return {
            "TOKEN": token, "SECRET": str(secret), "OUTSIDER": str(self._outsider()), "PAGE": page,
            "SEGMENT": segments[-1].split()[0], "SHARED": str(self.workshop.root / "shared"),
            "NEIGHBOUR": self._neighbour(token), "CHILDREN": str(CHILDREN), "SWARM": SWARM,
        }  # fmt: skip

    def _neighbour(self, token: str) -> str:
        """Put another container on the host's network, and return its address."""
        folder = self.workshop.new_folder()
        (folder / "index.html").write_text(f"{token}: the neighbour's page\n")
        server = ["busybox", "httpd", "-f", "-p", "80", "-h", str(folder)]
        made = self.workshop.start([building.own_network], server)
        self.workshop.ask(made)
        return made.address

    def _outsider(self) -> int:
        """Start a process outside; return its number there, one that nobody has inside."""
        while True:
            process = self.workshop.stage.start(["sleep", "86400"])
            number = int(status_fields(process.pid)["NSpid"].split()[-1])
            if number > _USED_INSIDE:
                return number
            process.signal(signal.SIGKILL)
            process.wait()

    def try_all(self, steps: Iterable[Step]) -> Lights:
        """Build a container of these steps, try every way out of it, and return its lights.

        Raises `StepFailed`, `LabError`: there is no such container; see `Workshop.start`;
        `TimedOut`: the attempts do not come to an end; `ProcessGone`: the container does.
        """
        self._set_right()
        read, write = os.pipe()
        try:
            made = self.workshop.start(steps, _program(), env=self.targets, stdin=read)
            try:
                made.process.expect(_END, _PATIENCE_SECONDS)
            except TimedOut:
                made.close()
                raise
            outside = self._look_outside()
        finally:
            os.close(read)
            os.close(write)  # the shell inside reads on, and ends
        made.process.wait(_PATIENCE_SECONDS)
        # children that were not at the gate yet find it open, and end as well
        self._open_gate = os.open(Path(self.targets["SHARED"], "gate"), os.O_RDWR | os.O_CLOEXEC)
        self._said(
            f"hostname {HOST_NAME}; ip address flush dev lo to {self.targets['NEIGHBOUR']}; "
            "ip neighbour flush all"
        )
        lights = _judged(made.process.output, self.targets, outside, made.script.lent)
        if any(light.evidence == HARMED for light in lights):
            del self.targets  # they are made again
        return Lights(lights, (), made.script.steps, made.script.lent)

    def _set_right(self) -> None:
        """Make a new gate, and see that all is there to break out to."""
        targets = self.targets
        if self._open_gate >= 0:
            os.close(self._open_gate)
            self._open_gate = -1
        gate = Path(targets["SHARED"], "gate")
        gate.unlink(missing_ok=True)
        os.mkfifo(gate)
        gate.chmod(0o666)
        Path(targets["SHARED"], "by-root").unlink(missing_ok=True)
        if targets["TOKEN"] not in self._said(_FETCH.format(f"http://{targets['NEIGHBOUR']}/")):
            del self.targets  # somebody has put an end to the neighbour

    def _look_outside(self) -> dict[str, str]:
        """Read what the attempts changed out here, while the container still lives."""
        targets = self.targets
        file = Path(targets["SHARED"], "by-root")
        looks = {
            "name": "hostname",
            "neighbour": _FETCH.format(f"http://{targets['NEIGHBOUR']}/"),
            "ipc": "cat /proc/sysvipc/shm",
            "pid": f"kill -0 {targets['OUTSIDER']} && echo there",
        }
        said = self._said("\n".join(f"echo '== {name}'; {line}" for name, line in looks.items()))
        seen = {name: said.partition(f"== {name}\n")[2].partition("== ")[0] for name in looks}
        seen["root"] = secret.read_text() if (secret := Path(targets["SECRET"])).exists() else ""
        return {name: words.strip() for name, words in seen.items()} | {
            "mounted": "yes"
            if targets["TOKEN"] in "".join(proc.mount_lines(self.workshop.stage.pid))
            else "",
            "owner": str(file.stat().st_uid) if file.exists() else "nobody",
        }

    def _said(self, lines: str) -> str:
        """Run lines of shell on the stage, and return what they printed."""
        return self.workshop.stage.run(["sh", "-c", f"exec 2>&1\n{lines}"]).stdout


def _program() -> list[str]:
    lines = ['HERE="$SHARED"; [ -d "$HERE" ] || HERE=/shared']
    lines += [f'echo "== {a.name}"; ( {a.code} ) 2>&1; echo "== $?"' for a in ATTEMPTS]
    lines += [f'echo "{_END}"; read go_on', 'busybox umount "$HERE/mnt" 2> /dev/null; true']
    return ["busybox", "sh", "-c", "\n".join(lines)]


def _judged(
    output: str, targets: Targets, outside: Mapping[str, str], lent: Iterable[str]
) -> tuple[Light, ...]:
    lights = {}
    marks = {"root": targets["TOKEN"], "ipc": targets["SEGMENT"], "pid": "there"}
    for each in ATTEMPTS:
        said = output.partition(f"== {each.name}\n")[2]
        words, _, rest = said.partition("== ")
        folder = targets["SECRET"].removesuffix("secret.txt")
        words = words.replace(folder, "…/")  # which says nothing
        outcome = Outcome(words, int(rest.split()[0]), targets, outside)
        out = each.out(outcome)
        must = marks.get(each.name)  # what a look from outside finds as long as it is unharmed
        if must and must not in outside[each.name]:
            out = HARMED
        evidence = out or each.held(outcome)
        by_us = each.step in lent
        lights[each.name] = Light(each.name, each.words, not out, each.shown, evidence, by_us)
    return tuple(lights[name] for name in ORDER)
