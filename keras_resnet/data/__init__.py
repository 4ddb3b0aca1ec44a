"""From files to batches: sources, preprocessing, augmentation and pipelines.

- `sources`: raw examples from TensorFlow Datasets, image folders and the bundled set.
- `preprocessing`: deterministic, image to image.
- `augmentation`: random, image to image, with the seed as an argument.
- `pipelines`: examples and functions to shuffled, batched, prefetched `tf.data`.
- `bundled/`: the small real data set that ships with the package.
"""
