"""A process that answers requests for predictions."""
