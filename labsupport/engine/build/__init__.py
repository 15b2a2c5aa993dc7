"""The parts of `labsupport.engine.builds`: run a build, and read what its builder says."""
