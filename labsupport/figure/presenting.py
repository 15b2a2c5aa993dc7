"""Everything larger, for a projector: pictures as they are drawn, all else by the page's own zoom.

A stretched picture would be blurred. So pictures made afterwards are drawn larger, and the page's
zoom, which enlarges words, tables, sliders and live views, leaves them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labsupport.errors import LabError
from labsupport.figure import style

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

PROJECTOR = 1.4
SMALLEST, LARGEST = 0.5, 3.0
_OUTPUT = ".jp-OutputArea-output"
# an output within an output is enlarged already
_CSS = (
    "<style>{out}{{zoom:{scale:g}}}{out} {out}{{zoom:1}}{out} img{{zoom:{back:.6g}}}</style>"
    "<small>{words}</small>"
)
_told: DisplayHandle | None = None


def present(scale: float = PROJECTOR) -> None:
    """Show outputs `scale` times as large from now on; `present(False)` undoes it.

    Words, tables and controls grow at once, in JupyterLab; pictures when they are
    made the next time.

    Raises `LabError`: it is below 0.5 or above 3.
    """
    wanted = {True: PROJECTOR, False: 1.0}[scale] if isinstance(scale, bool) else float(scale)
    if not SMALLEST <= wanted <= LARGEST:
        raise LabError(
            f"outputs cannot be shown {scale} times as large",
            f"between {SMALLEST:g} and {LARGEST:g} they can be read",
            "present() for a projector, present(False) for the ordinary size",
        )
    style.present(wanted)
    _tell(wanted)


def _tell(scale: float) -> None:
    """Show the style with a word about it; what an earlier call has shown becomes the same."""
    global _told  # noqa: PLW0603 (one setting for all outputs of a notebook)
    from IPython.display import display

    large = f"Outputs are shown {scale:g} times as large; present(False) undoes it."
    words = large if scale != 1 else "Outputs have their ordinary size."
    markup = _CSS.format(out=_OUTPUT, scale=scale, back=1 / scale, words=words)
    told = {"text/html": markup, "text/plain": words}
    if _told:
        _told.update(told, raw=True)
    _told = display(told, raw=True, display_id="labsupport-present")
