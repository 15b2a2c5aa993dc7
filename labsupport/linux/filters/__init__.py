"""Seccomp filters: built, read out, judged, tried; `labsupport.linux.seccomp` is the face."""
