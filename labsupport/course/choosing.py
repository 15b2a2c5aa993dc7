"""Which tool for what: rules in order, each with its reason and the notebook that shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Needs:
    """What somebody has in mind; each is a question that is answered by yes or no."""

    other_kernel: bool = False
    strangers_code: bool = False
    whole_system: bool = False
    many_machines: bool = False
    no_root: bool = False
    one_desktop_program: bool = False
    only_python_packages: bool = False


QUESTIONS = {
    "other_kernel": "Must it have another kernel, or another operating system?",
    "strangers_code": "Is it the code of somebody you do not trust?",
    "whole_system": "Is it a whole system, with an init and several services?",
    "many_machines": "Will it run on many machines, and be restarted where one fails?",
    "no_root": "Must it do without root, say on a cluster?",
    "one_desktop_program": "Is it one program of your desktop?",
    "only_python_packages": "Is it only about the Python packages of one project?",
}


@dataclass(frozen=True)
class Choice:
    """A recommendation: what to pick, why, and where the course shows the reason."""

    pick: str
    because: str
    notebook: str

    def __repr__(self) -> str:
        return f"{self.pick}: {self.because} (notebook {self.notebook})"


_RULES = (
    ("other_kernel", Choice("a virtual machine",
     "containers share their host's kernel; only a virtual machine brings its own", "12")),
    ("strangers_code", Choice("a virtual machine, or containers with gVisor or Kata",
     "every container asks the one kernel of its host; put another kernel between", "07")),
    ("whole_system", Choice("Incus or LXC, or systemd-nspawn",
     "they start an init as PID 1; an application container's PID 1 is the application", "02")),
    ("many_machines", Choice("Kubernetes with containerd",
     "the same images; somebody must decide where they run, and start them again", "11")),
    ("no_root", Choice("rootless Podman, or Apptainer on a cluster",
     "a user namespace makes you root of your own container only, and no daemon of root's is "
     "asked", "05")),
    ("one_desktop_program", Choice("bubblewrap, most easily by Flatpak",
     "a few namespaces and a filter around one program need no image and no engine", "08")),
    ("only_python_packages", Choice("a virtual environment",
     "it separates packages and nothing else, and costs next to nothing", "01")),
)  # fmt: skip
OTHERWISE = Choice(
    "a container, by Docker or Podman",
    "a program with all that it needs, in an image that travels, limited and kept apart", "11",
)  # fmt: skip


def choose(**needs: bool) -> Choice:
    """Recommend: `choose(strangers_code=True)`. The first question with a yes decides.

    Raises:
        TypeError: there is no such question; `QUESTIONS` has them.

    """
    asked = Needs(**needs)
    return next((choice for name, choice in _RULES if getattr(asked, name)), OTHERWISE)
