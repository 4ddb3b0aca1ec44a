"""From files to batches: sources, preprocessing, augmentation and pipelines.

- `examples`: what a data set is, split.
- `sources`: those of TensorFlow Datasets and the bundled one, by name.
- `folders`: folders of images.
- `class_folders`: looks at class folders that may be something else.
- `bad_examples`: finds and names examples that can't be trained on.
- `decoding`: decodes image files.
- `images`: deterministic, image to image.
- `augmentation`, `colors`: random, image to image, with the seed as an argument.
- `random_layers`, `random_colors`, `random_crops`: the same as Keras layers.
- `keras_augmentation`: a recipe's augmentation as a layer; Keras's own as functions of a
  seed.
- `transforms`: what is done to each image and each batch.
- `order`: the order in which training sees examples.
- `threads`: how many threads `tf.data` works with.
- `cache`: images that fit into memory, decoded once.
- `pipelines`: examples and functions to shuffled, batched, prefetched `tf.data`.
- `bundled/`: the small real data set that ships with the package.
"""
