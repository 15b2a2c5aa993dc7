"""The disk of the tutorial's virtual machine: a Debian with Docker, made once from its packages."""
