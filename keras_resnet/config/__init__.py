"""Facts, in the standard library alone: networks, data sets, recipes."""
