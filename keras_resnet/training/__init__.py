"""From a model, batches and a recipe to a trained model and its history."""
