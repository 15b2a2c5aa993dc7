"""A quiz for what no experiment here can show: open an answer, and it says why (not).

It is plain HTML that unfolds, so it works by keyboard, with a screen reader, in a saved page and
without a network; jupyterquiz, of whose format the questions are, offers none of these.
"""

from __future__ import annotations

from dataclasses import dataclass

from labsupport.views.plain_table import marked

RIGHT, WRONG = "#009E73", "#D55E00"


@dataclass(frozen=True)
class Answer:
    """One answer to choose: its words, whether it is right, and what to say to who chooses it."""

    answer: str
    correct: bool
    feedback: str

    @property
    def told(self) -> str:
        """What unfolds."""
        return f"{'✓ Right' if self.correct else '✗ Not so'}: {self.feedback}"


@dataclass(frozen=True)
class Question:
    """A question of which one answer is right."""

    question: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Quiz:
    """Questions in a row, as the last line of a cell."""

    questions: tuple[Question, ...]

    def __repr__(self) -> str:
        return "\n".join(
            f"{each.question}\n" + "\n".join(f"  {one.answer}" for one in each.answers)
            for each in self.questions
        )

    def _repr_html_(self) -> str:
        # JupyterLab would take Enter and Space for its own
        inner = "".join(map(_question, self.questions))
        return f"<div class='lab-quiz' data-lm-suppress-shortcuts='true'>{inner}</div>"


def _question(each: Question) -> str:
    answers = "".join(map(_answer, each.answers))
    return (
        "<fieldset style='border:0;border-left:5px solid #0072B2;margin:0 0 1em;padding:0 .8em'>"
        f"<legend style='padding:0;margin:0'><b>{marked(each.question)}</b></legend>"
        f"{answers}</fieldset>"
    )


def _answer(one: Answer) -> str:
    colour = RIGHT if one.correct else WRONG
    return (
        f"<details><summary style='cursor:pointer;padding:.15em 0'>{marked(one.answer)}</summary>"
        f"<p style='margin:.1em 0 .4em 1.2em;padding-left:.6em;border-left:3px solid {colour}'>"
        f"{marked(one.told)}</p></details>"
    )


def _ask(question: str, *answers: tuple[str, bool, str]) -> Question:
    return Question(question, tuple(Answer(*each) for each in answers))


HISTORY = Quiz((
    _ask(
        "rkt, which the lecture names, is today …",
        ("Kubernetes' usual runtime", False, "that is containerd, or CRI-O."),
        ("history: it ended in 2020", True, "its ideas (no daemon) live on in Podman."),
        ("the runtime under Podman", False, "that is crun, or runc."),
    ),
    _ask(
        "On Windows, WSL 2 runs Linux programs by …",
        ("a real Linux kernel in a small virtual machine", True, "Docker Desktop uses it, too."),
        ("translating system calls", False, "WSL 1 did; WSL 2 has a Linux kernel."),
        ("emulating a Linux processor", False, "the processor is the same: nothing to emulate."),
    ),
    _ask(
        "OrbStack on a Mac is …",
        ("a container runtime for macOS programs", False, "its containers are Linux's."),
        ("Apple's successor of HyperKit", False, "that is Apple's Virtualization framework."),
        ("another way to run Linux virtual machines", True, "with containers inside."),
    ),
    _ask(
        "An image for amd64 starts on an arm64 machine …",
        ("always: containers are portable", False, "its programs are for another processor."),
        ("only where an emulator is installed", True, "Docker Desktop brings one; it is slow."),
        ("never", False, "with an emulator, such as QEMU's, it does; slowly."),
    ),
))  # fmt: skip
"""What is history, or lives on other systems: for notebook 13."""
