"""What a group did while it was watched: its counters as curves, and when the kernel struck.

OOM kills and refused forks are told by the kernel (`Cgroup.events`). Of throttling it tells nobody:
that is counted in `cpu.stat`, at each reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from labsupport.linux.cgroups import Cgroup, Event
from labsupport.views.curves import Curves, Sample, Strike

PERIOD_SECONDS = 0.1  # in which a CPU quota is counted
RATE_SECONDS = 0.5  # over which CPU time is averaged: a throttled group runs in bursts
SAME_SECONDS = 1.0  # strikes of a kind that are so close make one stretch


class GroupRecord:
    """Readings of one group from now on: `sample()` takes one, `struck()` notes an event."""

    def __init__(self, group: Cgroup, clock: Callable[[], float] = time.monotonic) -> None:
        self.group, self._clock = group, clock
        self.began = clock()
        self.samples: list[Sample] = []
        self.strikes: list[Strike] = []
        self._cpu: list[tuple[float, float]] = []  # moments, and CPU seconds until then
        self._throttled = group.usage().throttled_periods

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return self._clock() - self.began

    def sample(self) -> Sample:
        """Read the group's counters and limits now."""
        now = self.now
        usage, limits = self.group.usage(), self.group.limits
        self._count_throttling(now, usage.throttled_periods)
        sample = Sample(
            at_seconds=now,
            memory_bytes=usage.memory_bytes,
            memory_limit_bytes=limits.memory_bytes,
            cpus=None if usage.cpu_seconds is None else self._rate(now, usage.cpu_seconds),
            cpu_limit=limits.cpu,
            tasks=usage.pids,
            task_limit=limits.pids,
        )
        self.samples.append(sample)
        return sample

    def _rate(self, now: float, cpu_seconds: float) -> float:
        """Return CPU seconds for each second, by the means of two periods half a second apart."""
        self._cpu.append((now, cpu_seconds))
        while len(self._cpu) > 2 and self._cpu[0][0] < now - RATE_SECONDS - PERIOD_SECONDS:
            self._cpu.pop(0)
        late = [each for each in self._cpu if each[0] > now - PERIOD_SECONDS]
        early = [each for each in self._cpu if each[0] <= self._cpu[0][0] + PERIOD_SECONDS]
        (from_, was), (to, is_) = _mean(early), _mean(late)
        return max(0.0, (is_ - was) / (to - from_)) if to > from_ else 0.0

    def _count_throttling(self, now: float, periods: int | None) -> None:
        if periods is None or self._throttled is None:
            return
        if periods > self._throttled:
            self._add("throttled", now, periods - self._throttled)
        self._throttled = periods

    def struck(self, event: Event) -> Strike:
        """Note what the kernel told."""
        return self._add(event.kind, event.at_seconds - self.began, event.new)

    def _add(self, kind: str, at: float, count: int) -> Strike:
        """Add a strike; throttled periods and refused forks that follow each other are one."""
        for number in range(len(self.strikes) - 1, -1, -1):
            last = self.strikes[number]
            if last.kind != kind:
                continue
            if kind != "oom_kill" and at - last.until_seconds <= SAME_SECONDS:
                longer = replace(last, until_seconds=at, count=last.count + count)
                self.strikes[number] = longer
                return longer
            break
        self.strikes.append(Strike(kind, at, at, count))
        return self.strikes[-1]

    def curves(self, seconds: float, files: dict[str, str]) -> Curves:
        """Return what there is to draw, on an axis of so many seconds."""
        return Curves(tuple(self.samples), tuple(self.strikes), files, 0.0, seconds)


def _mean(moments: list[tuple[float, float]]) -> tuple[float, float]:
    number = len(moments)
    return sum(at for at, _ in moments) / number, sum(value for _, value in moments) / number
