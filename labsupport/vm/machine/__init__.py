"""A whole virtual machine for a notebook, as a cloud rents them out: QEMU, SSH, a disk of its own.

(The Lab VM, in `labsupport.vm`, is something else: a kernel for notebooks, sharing their files.)
"""
