"""Docker Hub with the same face as a registry of one's own, for who has an account there.

User name and token are asked for, live in this object only, and are sent with each request; they
are not written to a file, to `~/.docker/config.json` in particular, and not shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from getpass import getpass
from typing import TYPE_CHECKING, Self

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
        return f"{self.user}/{repository}:{tag}"

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
        """Refuse: only Docker Hub itself reads its log.

        Raises:
            RegistryFailed: always.

        """
        raise RegistryFailed(
            "there is no log to read",
            "Docker Hub shows its log to nobody",
            "Registry.start(), whose log is yours",
        )

    def stop(self) -> None:
        """Do nothing: images that were pushed stay at Docker Hub until you delete them there."""
