"""A run: requested, trained, evaluated, used for predictions, exported and recorded."""
