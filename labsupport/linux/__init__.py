"""The only code that talks to the Linux kernel."""
