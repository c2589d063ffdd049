"""Facts about the modules of the dependencies, one file each."""
