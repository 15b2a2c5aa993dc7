"""Lines of the kernel's source that we change before we build it, each with its reason.

A mend whose lines are not there is left out: another version has other lines, and not this bug.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from labsupport.vm.fragment import Fragment


class Mend(NamedTuple):
    """Replace `old` by `new` in a file of the source."""

    file: str
    old: str
    new: str


# A process killed inside fork(2) leaves an address space copied in part, with a mark where copying
# stopped. exit_mmap() knows the mark; User-Mode Linux flushes its TLB there, takes the mark for a
# mapping, and panics: each fork bomb that is killed would end the guest (seen with 6.12).
STOP_AT_THE_MARK = Mend(
    "arch/um/kernel/tlb.c",
    """	for_each_vma(vmi, vma)
		um_tlb_mark_sync(mm, vma->vm_start, vma->vm_end);
""",
    """	for_each_vma(vmi, vma) {
		if (xa_is_zero(vma))
			break;
		um_tlb_mark_sync(mm, vma->vm_start, vma->vm_end);
	}
""",
)
MENDS = (STOP_AT_THE_MARK,)


def recipe_hash(fragment: Fragment) -> str:
    """Ten hexadecimal digits that change with the configuration's symbols and with the mends."""
    text = "".join(part for mend in MENDS for part in mend)
    return hashlib.sha256(f"{fragment.hash}{text}".encode()).hexdigest()[:10]


def apply(source: Path) -> list[Mend]:
    """Change the files of an unpacked source; return the mends that applied."""
    return [mend for mend in MENDS if _apply(mend, source / mend.file)]


def _apply(mend: Mend, file: Path) -> bool:
    text = file.read_text() if file.is_file() else ""
    if text.count(mend.old) != 1:
        return False
    file.write_text(text.replace(mend.old, mend.new))
    return True
