"""Pictures and widgets: plain data in, a drawing out; no system calls."""
