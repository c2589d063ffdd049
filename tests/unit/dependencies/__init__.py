"""Facts about the rooms of the dependencies, one file a room."""
