"""Solution methods: one a file."""
