"""Solution methods: backend NAME is in NAME.py or NAME/backend.py."""
