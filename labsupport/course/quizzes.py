"""Quizzes for what no experiment here can show; in the format of jupyterquiz."""

from __future__ import annotations

from typing import Any


def _question(text: str, *answers: tuple[str, bool, str]) -> dict[str, Any]:
    """Write one question with several answers: the words, whether it is right, what to say then."""
    return {
        "question": text,
        "type": "multiple_choice",
        "answers": [
            {"answer": words, "correct": right, "feedback": told} for words, right, told in answers
        ],
    }


HISTORY = [
    _question(
        "rkt, which the lecture names, is today …",
        ("Kubernetes' usual runtime", False, "That is containerd, or CRI-O."),
        ("history: it ended in 2020", True, "Its ideas (no daemon) live on in Podman."),
        ("the runtime under Podman", False, "That is crun, or runc."),
    ),
    _question(
        "On Windows, WSL 2 runs Linux programs by …",
        ("translating system calls", False, "WSL 1 did; WSL 2 has a Linux kernel."),
        ("a real Linux kernel in a small virtual machine", True, "And Docker Desktop uses it."),
        ("emulating a Linux processor", False, "The processor is the same; no emulation needed."),
    ),
    _question(
        "OrbStack on a Mac is …",
        ("another way to run Linux virtual machines", True, "With containers inside."),
        ("a container runtime for macOS programs", False, "Its containers are Linux's."),
        ("Apple's successor of HyperKit", False, "HyperKit's successor is Apple's framework."),
    ),
    _question(
        "An image for amd64 starts on an arm64 machine …",
        ("always: containers are portable", False, "Its programs are for another processor."),
        ("only where an emulator is installed", True, "Docker Desktop brings one; it is slow."),
        ("never", False, "With an emulator (QEMU's) it does, slowly."),
    ),
]
"""What is history, or lives on other systems."""
