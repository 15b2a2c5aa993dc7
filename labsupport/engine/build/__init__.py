"""How a build is run, and how its builders' words are read: the parts of `labsupport.engine.builds`."""
