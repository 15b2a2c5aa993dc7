"""Pictures of this room, from plain data."""

from dataclasses import replace

from labsupport.kernel.procfs import ProcessSnapshot
from labsupport.pid import pidmap


def process(pids, chain, name="sleep", command="sleep 60"):
    return ProcessSnapshot(pids[0], pids, name, command, "S", 1, {"pid": chain[-1]}, chain)


NOTEBOOK = process((10,), (1,), "python", "python -m ipykernel")
WEB = process((345, 1), (1, 2), "nginx", "/usr/sbin/nginx -g daemon off;")
DB = process((678, 1), (1, 3), "mysqld", "/usr/sbin/mysqld --user=mysql")
DEEP = process((700, 7, 1), (1, 3, 4))
MANY = [replace(WEB, pid=n, pids=(n, n)) for n in range(1, 12)]


def data(*groups, ended=(), viewer=pidmap.HOST):
    return pidmap.PidMapData(NOTEBOOK, tuple(groups), frozenset(ended), viewer)


FULL = data(pidmap.group("web", 2, MANY), pidmap.group("db", 3, [DB, DEEP]), ended=[678])
EMPTY = data(pidmap.group("web", 2, []))
BY_DB = data(pidmap.group("web", 2, [WEB]), pidmap.group("db", 3, [DB, DEEP]), viewer="db")


def of(picture):
    return pidmap.page(picture), pidmap.words(picture), pidmap.table(picture)


PAGES = {"full": lambda: of(FULL), "empty": lambda: of(EMPTY), "by-db": lambda: of(BY_DB)}
