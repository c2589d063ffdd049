"""Facts about the modules of the scheduler, one file each."""
