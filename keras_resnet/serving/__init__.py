"""A server that answers requests for predictions."""
