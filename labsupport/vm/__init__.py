"""The Lab VM: a Linux kernel of your own, as an ordinary process."""
