"""Markets: one a file, with its data, its equations and where they come from."""
