"""A measured transfer against its limit: the curve over time, and the bucket's dashed line."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from labsupport.linux.net.transfer import Recording
from labsupport.views import style
from labsupport.views.painter import Box, Scene

MEGABYTE = 1e6
HIGH = 10.0  # MB/s at the upper end of a live picture
TITLE: Box = (0, 1.2 * HIGH, 7.5, -0.17 * HIGH)
WARM_UP_SECONDS = 0.5


def finding(recordings: Mapping[float, Recording]) -> str:
    """Say in one line what the picture shows; `recordings` are by limit in bytes per second."""
    worst = max(abs(_share(limit, each) - 1) for limit, each in recordings.items())
    return f"Real downloads keep to the limit: at most {worst:.0%} beside it"


def _share(limit: float, recording: Recording) -> float:
    return recording.bytes_per_second(WARM_UP_SECONDS) / limit


def words(recordings: Mapping[float, Recording]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(recordings)}."]
    for limit, each in recordings.items():
        rate = each.bytes_per_second(WARM_UP_SECONDS) / MEGABYTE
        parts.append(f"Limit {limit / MEGABYTE:g} MB/s: measured {rate:.2f} MB/s.")
    return " ".join(parts)


def table(recordings: Mapping[float, Recording]) -> list[tuple[object, ...]]:
    """The same as rows: limit, measured, share."""
    rows: list[tuple[object, ...]] = [("limit, MB/s", "measured, MB/s", "of the limit")]
    for limit, each in recordings.items():
        rate = each.bytes_per_second(WARM_UP_SECONDS)
        rows.append((f"{limit / MEGABYTE:g}", f"{rate / MEGABYTE:.2f}", f"{rate / limit:.0%}"))
    return rows


def draw_bandwidth(axes: Axes, recordings: Mapping[float, Recording]) -> None:
    """Draw a curve for each limit (bytes per second), and the limit as a dashed line."""
    longest = max(each.readings[-1].at_seconds for each in recordings.values())
    top = max(recordings) / MEGABYTE
    for number, (limit, each) in enumerate(recordings.items()):
        colour = style.WHO[number % len(style.WHO)]
        points = each.curve()
        axes.plot([at for at, _ in points], [rate / MEGABYTE for _, rate in points],
                  color=colour, linewidth=2.4)  # fmt: skip
        draw_limit(axes, limit, longest)
        rate = each.bytes_per_second(WARM_UP_SECONDS) / MEGABYTE
        axes.text(longest * 1.01, limit / MEGABYTE, f"measured {rate:.2f}", va="center",
                  size=style.size("small"), color=style.INK)  # fmt: skip
    axes.set(xlim=(0, longest), ylim=(0, 1.6 * top))
    dress(axes)
    axes.set_title(finding(recordings), loc="left", size=style.size("title"), weight="bold", pad=12)


def draw_limit(axes: Axes, limit: float, longest: float) -> None:
    """Draw a limit as a dashed line with its value on it."""
    axes.axhline(limit / MEGABYTE, color=style.INK, linestyle="--", linewidth=1.3)
    axes.annotate(
        f"limit {limit / MEGABYTE:g} MB/s", (longest * 0.99, limit / MEGABYTE), xytext=(0, 4),
        textcoords="offset points", ha="right", va="bottom", size=style.size("small"),
    )  # fmt: skip


def dress(axes: Axes) -> None:
    """Label the axes."""
    axes.set_xlabel("seconds since the download began", size=style.size("small"))
    axes.set_ylabel("received, MB/s", size=style.size("small"))
    axes.tick_params(labelsize=style.size("small"))
    axes.spines[["top", "right"]].set_visible(False)


def show_bandwidth(recordings: Mapping[float, Recording]) -> None:
    """Show in the notebook the recordings of downloads, by limit in bytes per second."""
    figure = style.new_figure(9.2, 4.2)
    draw_bandwidth(figure.add_axes((0.08, 0.14, 0.77, 0.72)), recordings)
    style.show(figure, words(recordings), table(recordings))


def now(recording: Recording) -> str:
    """Say the limit and the rate of the last moment."""
    points = recording.curve()
    limit = recording.readings[-1].limit_bytes_per_second if recording.readings else None
    if not points or limit is None:
        return "The download begins."
    return f"Limit {limit / MEGABYTE:g} MB/s, received {points[-1][1] / MEGABYTE:.1f} MB/s."


def live_scene(recording: Recording, seconds: float) -> Scene:
    """What a live picture of so many seconds shows now; repainting it is cheap."""
    return Scene(seconds, {(0, HIGH, seconds, -HIGH): recording, TITLE: now(recording)})


def draw_live_background(axes: Axes, seconds: float) -> None:
    """Draw the empty axes."""
    axes.set(xlim=(0, seconds), ylim=(0, HIGH), position=(0.08, 0.16, 0.86, 0.7))
    dress(axes)


def draw_live_tile(axes: Axes, box: Box, content: Recording | str) -> list[Artist]:
    """Draw the rate so far and the limit as it was set, a dashed line; or the title."""
    if isinstance(content, str):
        return [axes.text(0, 1.06 * HIGH, content, size=style.size("title"), weight="bold")]
    points = content.curve()
    limits = [(r.at_seconds, (r.limit_bytes_per_second or 0) / MEGABYTE) for r in content.readings]
    drawn: list[Artist] = []
    drawn += axes.plot([at for at, _ in points], [rate / MEGABYTE for _, rate in points],
                       color=style.FIRST, linewidth=2.4)  # fmt: skip
    drawn += axes.step([at for at, _ in limits], [limit for _, limit in limits], where="post",
                       color=style.INK, linestyle="--", linewidth=1.3)  # fmt: skip
    at, limit = min(limits[-1][0], box[2]), limits[-1][1]
    early = at < box[2] / 4
    drawn.append(axes.text(at, limit + 0.2, f"limit {limit:g} MB/s", va="bottom",
                           ha="left" if early else "right", size=style.size("small")))  # fmt: skip
    return drawn
