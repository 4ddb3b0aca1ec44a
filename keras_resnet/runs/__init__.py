"""A run: requested, trained, evaluated, recorded, used for predictions and exported."""
