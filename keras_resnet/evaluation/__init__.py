"""How good a classifier is, in numbers: from a model and batches, or from predictions."""
