"""The only code that talks to Docker or Podman, or reads images."""
