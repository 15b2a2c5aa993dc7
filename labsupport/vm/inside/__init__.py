"""What runs in the guest: its first process. Only fast modules of the standard library here."""
