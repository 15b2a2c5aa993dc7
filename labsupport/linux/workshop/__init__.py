"""A container built by hand, step by step, and every way out of it tried (notebook 08)."""
