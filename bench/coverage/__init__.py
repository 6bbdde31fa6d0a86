"""Coverage of intervals, by simulation."""
