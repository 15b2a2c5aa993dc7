"""Make one program of a pip wheel: `python3 zip_pip.py pip-….whl pip`, run in the new root.

pip has a thousand files, and an engine in the Lab VM is slow with many. In a zip its modules are
compiled beforehand, for nothing could keep them there; see zipapp in Python's library reference.
"""

import compileall
import py_compile
import sys
import tempfile
import zipfile
from pathlib import Path

MAIN = "import sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
ALWAYS_THE_SAME = (1980, 1, 1, 0, 0, 0)


def zip_pip(wheel: Path, program: Path) -> None:
    """Write an executable zip with the wheel's modules, compiled, and what else it has."""
    with tempfile.TemporaryDirectory() as name, program.open("wb") as file:
        folder = Path(name)
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder)
        (folder / "__main__.py").write_text(MAIN)
        compileall.compile_dir(
            folder,
            stripdir=folder,
            quiet=1,
            legacy=True,  # beside the sources, where zipimport looks
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix not in (".py", ".exe"):
                    member = zipfile.ZipInfo(str(path.relative_to(folder)), ALWAYS_THE_SAME)
                    member.compress_type = zipfile.ZIP_DEFLATED
                    packed.writestr(member, path.read_bytes())
    program.chmod(0o755)


if __name__ == "__main__":
    zip_pip(Path(sys.argv[1]), Path(sys.argv[2]))
