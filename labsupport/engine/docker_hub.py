"""Docker Hub with the same face as a registry of one's own, for who has an account there.

User name and token are asked for, live in this object only, and are sent with each request; they
are not written to a file, to `~/.docker/config.json` in particular, and not shown.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from getpass import getpass
from typing import IO, TYPE_CHECKING, Self

from labsupport.engine import shipping
from labsupport.errors import LoginRefused, RegistryFailed

if TYPE_CHECKING:
    from labsupport.engine.client import Engine
    from labsupport.engine.registry_log import Request

LOGIN_ADDRESS = "https://index.docker.io/v1/"
SETTINGS = "https://app.docker.com/settings/personal-access-tokens"


@dataclass(frozen=True)
class DockerHub:
    """A user of Docker Hub; `hub = DockerHub.ask()` instead of `Registry.start()`."""

    user: str
    password: str = field(repr=False)
    address: str = "docker.io"

    @classmethod
    def ask(cls) -> Self:
        """Ask for the user name and an access token; what is typed for the token is not shown.

        Raises:
            LoginRefused: one of them was left empty.

        """
        user = input("User name at Docker Hub: ").strip()
        token = getpass("Access token (it is not shown, and not kept): ").strip()
        if not user or not token:
            missing = "token" if user else "user name"
            raise LoginRefused(
                "Docker Hub needs both a user name and a token",
                f"no {missing} was given",
                f"make a token at {SETTINGS}",
            )
        return cls(user, token)

    def name(self, repository: str, tag: str = "latest") -> str:
        """Return what an image must be called to go there: `USER/repository:tag`."""
        return f"{self.repository(repository)}:{tag}"

    def repository(self, name: str) -> str:
        """Return the same without a tag, as the Docker SDK wants it: `USER/name`."""
        return f"{self.user}/{name}"

    @property
    def auth(self) -> dict[str, str]:
        """User and token, as the Docker SDK's `auth_config` takes them."""
        return {"username": self.user, "password": self.password}

    def login(self, engine: Engine, token: str | None = None) -> str:
        """Have the engine try user and token; return what it says.

        Raises:
            LoginRefused: that is not the token.

        """
        return shipping.login(engine, LOGIN_ADDRESS, self.user, token or self.password)

    def contents(self, name: str) -> list[tuple[str, str, int]]:
        """Return nothing: how large it stores an image's layers is not asked for."""
        del name
        return []

    def explain(self, words: str) -> str:
        """Return the engine's words; Docker Hub adds none."""
        return words

    def log(self) -> list[Request]:
        """Refuse: only Docker Hub itself reads its log; raises `RegistryFailed`."""
        raise _not_ours("its log")

    def catalogue(self) -> dict[str, list[str]]:
        """Refuse: there are millions of repositories; raises `RegistryFailed`."""
        raise _not_ours("a list of all its repositories")

    def open(self, what: str, agent: str = "") -> AbstractContextManager[IO[bytes]]:
        """Refuse: it asks for another kind of login; raises `RegistryFailed`."""
        del agent
        raise _not_ours(f"{what} without an engine")

    def stop(self) -> None:
        """Do nothing: images that were pushed stay at Docker Hub until you delete them there."""

    @property
    def is_running(self) -> bool:
        """Whether a program of ours runs for it: none."""
        return False


def _not_ours(what: str) -> RegistryFailed:
    return RegistryFailed(
        "only a registry of your own shows that",
        f"Docker Hub shows {what} to nobody",
        "registry = Registry.start()",
    )
