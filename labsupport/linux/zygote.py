"""The small processes that sandboxes are forked from; runs outside the notebook's process.

Forking a Jupyter process of 300 MB costs ten times as much as forking a small one, and a process
with threads must not run Python between fork and exec. So the notebook starts one small, single-
threaded helper early, the *zygote*, and asks it for sandboxes:

    notebook ── zygote ── holder (one a sandbox: is in its namespaces, keeps them open)
                             └── programs (the first one is PID 1 of a new PID namespace)

Requests are marshalled dictionaries on a Unix socket, with descriptors beside them. Zygote and
holder end when that socket or the notebook's process does, whichever is noticed first; programs get
SIGKILL with their holder. Nothing can outlive the notebook, `kill -9` included.
"""

from __future__ import annotations

import gc
import marshal
import os
import select
import sys

from labsupport.linux import syscalls as sc
from labsupport.linux.holder import TAKEN, Holder
from labsupport.linux.light import signal, socket
from labsupport.linux.messages import live, receive
from labsupport.linux.seats import Seats

LEAVING = b"."
"""What a holder writes into the pipe before it ends as it should."""
MOST_DEATHS = 20  # then something is wrong that another fork will not mend


def zygote(requests: socket.socket, owner: int, need_user: bool) -> None:
    """Keep a spare holder ready, until the notebook (pidfd `owner`) is gone.

    A spare takes the next request from the socket that all share, so that no fork stands between
    a request and its sandbox; its byte in the pipe asks for the next spare, and so does its death.
    """
    sc.set_name("lab-zygote")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # holders need no waiting for
    sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)  # nor does what a killed holder leaves
    gc.disable()  # the collector would only unshare pages
    gc.freeze()
    seats = Seats()
    taken_read, taken_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    waiting = select.poll()
    waiting.register(taken_read, select.POLLIN)
    waiting.register(owner, select.POLLIN)
    waiting.register(requests, 0)  # its end only
    home = os.pidfd_open(os.getpid())
    deaths = 0  # of holders that had not announced it, since a request was served
    while deaths < MOST_DEATHS:
        if seats.all_free():
            pid, pidfd = sc.clone3()
            if pid == 0:
                sc.set_name("lab-holder")
                os.close(taken_read)
                holder = Holder(owner, home, need_user)
                live(_be_holder, holder, requests, seats, taken_write)
            waiting.register(pidfd, select.POLLIN)
        ready = [fd for fd, _ in waiting.poll()]
        if owner in ready or requests.fileno() in ready:
            break
        for fd in ready:
            if fd != taken_read:  # a holder has ended
                deaths += 1
                waiting.unregister(fd)
                os.close(fd)
        news = _read_all(taken_read)
        deaths = (min(deaths, 0) if TAKEN in news else deaths) - news.count(LEAVING)
    _turn_away(requests)
    try:  # noqa: SIM105 (contextlib would be loaded for this)
        os.waitpid(-1, 0)  # with SIGCHLD ignored, it returns when the last holder has ended
    except ChildProcessError:
        pass


def _turn_away(requests: socket.socket) -> None:
    """Take no request any more; whose request still lies there, learns so by its channel's end."""
    requests.shutdown(socket.SHUT_RD)
    while True:
        data, fds = receive(requests)
        for fd in fds:
            os.close(fd)
        if not data:
            return


def _read_all(pipe: int) -> bytes:
    try:
        return os.read(pipe, 1 << 16)
    except BlockingIOError:
        return b""


def _be_holder(holder: Holder, requests: socket.socket, seats: Seats, taken: int) -> None:
    """Serve one request after the other: wait, be the holder of a sandbox, come home."""
    sc.take_notes()
    while seats.take():
        holder.prepare()
        request = _wait_for_request(requests, holder.owner)
        if request is None:
            holder.drop_ahead()
            return
        seats.leave()
        data, channel = request
        holder.serve(marshal.loads(data), channel, seats, taken)  # noqa: S302
        if not holder.go_home():
            holder.announce_end()
            break
        channel.close()  # this tells the notebook that all has ended, and nobody is in there
        holder.leave_mounts()
    os.write(taken, LEAVING)  # or others wait already


def _wait_for_request(requests: socket.socket, owner: int) -> tuple[bytes, socket.socket] | None:
    with select.epoll() as waiting:
        waiting.register(requests, select.EPOLLIN | select.EPOLLEXCLUSIVE)  # wake one spare only
        waiting.register(owner, select.EPOLLIN)
        while True:
            if owner in [fd for fd, _ in waiting.poll()]:
                return None
            try:
                data, fds = receive(requests, socket.MSG_DONTWAIT)
            except BlockingIOError:  # another spare was faster
                continue
            return (data, socket.socket(fileno=fds[0])) if data else None


def main() -> None:
    """Serve the notebook whose socket and pidfd were inherited."""
    requests, owner = int(sys.argv[-2]), int(sys.argv[-1])
    for fd in (requests, owner):
        os.set_inheritable(fd, False)
    zygote(socket.socket(fileno=requests), owner, need_user=sys.argv[-3] == "user")
