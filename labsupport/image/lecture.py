"""The lecture's example (Debian, Python, Pipenv), as it is built here without a network."""

from __future__ import annotations

import json

from labsupport.build.bases import APP_BASE_TAG, APP_WHEELS

BEGINNING = f"""FROM {APP_BASE_TAG}
ENV PIPENV_VENV_IN_PROJECT=1 PIP_NO_INDEX=1 PIP_FIND_LINKS=/usr/share/python-wheels
RUN pip install pipenv
"""
"""What Dockerfiles of the notebook and of its exercises begin with: a builder caches it once."""
TIDY = "pip freeze | xargs pip uninstall --yes && rm -r /root/.cache"
_INDEX = {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": True}


def pipfiles(*names: str) -> dict[str, str]:
    """Return what Pipenv reads: `Pipfile`, and `Pipfile.lock`, which holds the versions.

    `names` are of libraries whose wheels lie in the course's base.
    """
    wanted = "".join(f'{name} = "*"\n' for name in names)
    lock = {
        "_meta": {"hash": {"sha256": ""}, "pipfile-spec": 6, "requires": {}, "sources": [_INDEX]},
        "default": {name: {"version": f"=={APP_WHEELS[name]}"} for name in names},
        "develop": {},
    }
    return {"Pipfile": f"[packages]\n{wanted}", "Pipfile.lock": json.dumps(lock, indent=4)}
