"""A model and batches → numbers."""
