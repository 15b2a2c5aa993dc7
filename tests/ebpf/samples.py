"""The picture of this room, from a trace as it was once printed."""

from labsupport.ebpf.calls import Calls

TRACE = """\
3 ms, vm: bpftrace calls docker start --attach ID
48 ms, vm: containerd calls containerd-shim-runc-v2 -namespace moby -address a.sock -id ID start
61 ms, vm: containerd-shim calls containerd-shim-runc-v2 -namespace moby -id ID -address a.sock
70 ms, vm: containerd-shim calls runc --root moby --log-format json create --bundle ID ID
131 ms, vm: runc calls libnetwork-setkey -exec-root=exec ID 0a3dcfd4868c
204 ms, vm: containerd-shim calls runc --root moby --log log.json start ID
219 ms, ID: runc:[2:INIT] calls hostname
ID
260 ms, vm: containerd-shim calls runc --root moby --log log.json delete ID
290 ms, vm: containerd calls containerd-shim-runc-v2 -namespace moby -id ID -bundle ID delete
301 ms, vm: containerd-shim calls runc --root moby --log log.json delete --force ID
"""
CALLS = Calls(TRACE)
PAGES = {"calls": lambda: (CALLS.page(), CALLS.words(), CALLS.table())}
