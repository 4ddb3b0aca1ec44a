"""A report on runs: one HTML file, made of plain facts, that needs no server."""
