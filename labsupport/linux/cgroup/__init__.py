"""The parts of `labsupport.linux.cgroups`: one idea of control groups in each file; cgroups(7)."""
