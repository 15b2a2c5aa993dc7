"""Why a step of a handmade container failed: what the kernel refused, and what order would do."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any

from labsupport.errors import StepFailed
from labsupport.linux.workshop.scripts import Script

CAP_SYS_ADMIN = 21  # linux/capability.h


def explain(told: Sequence[Mapping[str, Any]], script: Script) -> StepFailed:
    """Turn what a script wrote down into an error that says which step, why, and what to do."""
    failure = next(line for line in told if "failed" in line)
    number, step = failure["errno"], failure["failed"]
    name = errno.errorcode.get(number, "")
    text = failure["text"] + (f" ({name})" if name else "")
    where = f", in: {line}" if (line := _line(script, failure["line"])) else ""
    done = [line for line in told if "step" in line]
    if any("begun" in line and line["filtered"] for line in told):  # as in Docker's containers
        done = [{**line, "filtered": False} for line in done]  # so nobody knows
    why, remedy = _order(failure, done) or _forked(done, script, step) or _general(failure)
    return StepFailed(
        step, number, f"step {step} failed{where}", f"{text}\n{why}" if why else text, remedy
    )


def silent(said: str, script: Script) -> StepFailed:
    """Explain a script that ended without a word, as when it is no valid Python."""
    why = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
    first = script.steps[0] if script.steps else "start"
    return StepFailed(first, 0, "the container script ended early", why, "look at the script")


def _line(script: Script, number: int) -> str:
    return script.text.splitlines()[number - 1].strip() if number else ""


def _order(failure: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Find an earlier step that took away what this one needs."""
    step, path = failure["failed"], failure["path"]
    refused = failure["errno"] in (errno.EPERM, errno.EACCES)
    for earlier in done if refused else ():
        name = earlier["step"]
        if earlier["filtered"]:
            return (
                f"the filter of {name} is asked at each system call since then, and refuses this",
                f"take {name} last: the steps before it need calls that it refuses",
            )
        if not earlier["capabilities"] >> CAP_SYS_ADMIN & 1:
            return (
                f"CAP_SYS_ADMIN is gone since {name}, and this call takes it",
                f"take {name} later: steps that take something away come last",
            )
    if failure["errno"] == errno.ENOENT and path and os.path.exists(path) and done:
        return (
            f"{path} is there outside, but no longer in sight after {done[-1]['step']}",
            f"take {step} before the step that changes the root file system",
        )
    if refused and path.endswith("/proc"):
        return (
            "/proc shows a PID namespace, and who mounts it must be that one's owner",
            "take the step that makes the PID namespace before this one",
        )
    users = {line["user_namespace"] for line in done if line["user_namespace"]}
    if refused and len(users) > 1:
        return (
            "we have every capability, but only over what was made in our new user namespace; this "
            "belongs to the old one",
            "take the step that makes the user namespace before the others that make namespaces",
        )
    return None


def _forked(done: Sequence[Mapping[str, Any]], script: Script, step: str) -> tuple[str, str] | None:
    """Find out whether the step names, to the parent, a process that it no longer is."""
    body = script.text.partition(f"def {step}(")[2].partition("\n\n\n")[0]
    new = next((line["step"] for line in done if line["pid"] != done[0]["pid"]), None)
    if done and done[-1]["pid"] == 1 and "c.pid" in body:
        return (
            f"c.pid is who we were at first, and {new or done[0]['step']} has forked a child",
            f"take {step} before it",
        )
    return None


def _general(failure: Mapping[str, Any]) -> tuple[str, str]:
    number = failure["errno"]
    if number == errno.EPERM:
        return "the kernel does not allow it to this process", "see what is allowed: ./lab doctor"
    if number == errno.EACCES and failure["path"]:
        return (
            "the user that we are outside may not go there",
            f"let others through the folders above: chmod o+x, up to {failure['path']}",
        )
    if number == errno.EINVAL and "seccomp" in failure["text"]:
        return "the filter is empty", "set it: workshop.filter = Filter.deny([...])"
    return "", "compare the step with the text above it, and run its cell again"
