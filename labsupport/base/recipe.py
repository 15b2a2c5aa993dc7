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
WHEELS = ("tabulate==0.10.0",)
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
_LEFT_OUT = re.compile(
    # documentation but for licences, translations, other character sets than UTF-8
    r"(?!usr/share/doc/[^/]+(/copyright)?$)"
    r"(usr/share/(doc|doc-base|man|info|lintian|locale|bash-completion)/.+|.+/gconv/.+"
    # nothing more will be installed by Debian's tools, so Perl and its like have no work here;
    # the list of what is installed stays
    r"|usr/(lib/[^/]+/perl-base|share/perl5|share/debconf)/.+|usr/bin/(perl|dpkg|debconf).*"
    r"|var/lib/dpkg/(info/.+|.+-old)"
    # parts of Python that only developers of Python use
    r"|usr/lib/python3[^/]*/(test|pydoc_data|lib2to3)/.+"
    # caches, logs, and what differs between machines
    r"|var/(cache|log|lib/apt)/.+|root/.+|tmp/.+|dev/.+"
    r"|etc/(resolv\.conf|hostname|machine-id)|var/lib/dbus/machine-id|etc/.+-)"
)


def is_left_out(name: str) -> bool:
    """Whether a path, without a slash at its beginning, has no place in the image."""
    return _LEFT_OUT.fullmatch(name) is not None


def recipe_hash() -> str:
    """Return ten characters that change with the recipe."""
    parts = [2, SUITE, PACKAGES, PIP, WHEELS, ENVIRONMENT, SETTINGS, _LEFT_OUT.pattern]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
