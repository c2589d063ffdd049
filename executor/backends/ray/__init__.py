"""`ray`: steps on Ray."""
