"""Facts about the rooms of the scheduler, one file a room."""
