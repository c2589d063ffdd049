"""Times that workers of other machines measured, on the clock of the driver."""
