"""What the base of the tutorials' app is made of: a small Debian, Python with pip, Apertium.

It stands in for `python:3.12-slim-bookworm` where nothing can be pulled. What a Dockerfile's
dependency step would fetch lies in it as wheels, and its pip looks there and nowhere else: so the
same `RUN pip install -r requirements.txt` works without a network, in the Lab VM for instance.
"""

from __future__ import annotations

import hashlib
import json
import re

SUITE = "bookworm"
PACKAGES = ("python3", "apertium", "apertium-eng-spa")
PIP = "pip==26.3"
WHEELS = (PIP, "tabulate==0.10.0")
WHEELS_FOLDER = "usr/share/python-wheels"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = (f"PATH={PATH}", "LANG=C.UTF-8")
SETTINGS = {
    "etc/pip.conf": f"""\
# No network is needed, nor used: what the course installs lies in this folder.
[global]
no-index = true
find-links = /{WHEELS_FOLDER}
disable-pip-version-check = true
# in an image there is nobody but root, and one Python
root-user-action = ignore
break-system-packages = true
""",
}
# documentation (but for licences), translations, logs, caches, what differs between machines
_LEFT_OUT = re.compile(
    r"(?!usr/share/doc/[^/]+/copyright$)"
    r"(usr/share/(doc|doc-base|man|info|lintian|locale)/.+"
    r"|var/(cache|log|lib/apt)/.+|var/lib/dpkg/[a-z]+-old|root/.+|tmp/.+|dev/.+"
    r"|etc/(resolv\.conf|hostname|machine-id)|var/lib/dbus/machine-id|.+-$)"
)


def is_left_out(name: str) -> bool:
    """Whether a path, without a slash at its beginning, has no place in the image."""
    return _LEFT_OUT.fullmatch(name) is not None


def recipe_hash() -> str:
    """Return ten characters that change with the recipe."""
    parts = [SUITE, PACKAGES, WHEELS, ENVIRONMENT, SETTINGS, _LEFT_OUT.pattern]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
