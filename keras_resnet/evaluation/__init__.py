"""A model and batches -> errors -> the record of a run."""
