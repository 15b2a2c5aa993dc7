"""Our rules for notebooks, wherever pytest is started; and this folder on its path."""

pytest_plugins = ["tests.notebooks"]
