"""Exports any `keras.Model` in forms that serve, and loads them; knows nothing of runs."""
