"""One file per topic: each capability of `labsupport.machine` is tried for real.

A probe is a function that does the thing once, in a child process of its own, and cleans up. It
returns a few words about what it found, or raises: `Refused` where it knows the cause, and a plain
`OSError` where the kernel's errno has to be interpreted (see `labsupport.probes.reasons`).
"""
