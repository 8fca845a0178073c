"""Learning backends: an environment and one algorithm a file."""
