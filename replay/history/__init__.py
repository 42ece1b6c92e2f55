"""Who held what, from when to when, on both time axes: tenures as a view in SQLite."""
