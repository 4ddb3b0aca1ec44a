"""Has TensorFlow Datasets store images in shards, for benchmarks that read them."""


def store(images, classes, folder, file_format, *, shape=(None, None, 3), shards=None):
    """Writes images; image k has label k modulo ``classes``.

    Args:
        images: Paths of image files, or files.
        classes: Number of classes.
        folder: Where a folder of the format's name is made.
        file_format: ``"tfrecord"`` or ``"array_record"``.
        shape: Of the images.
        shards: Their number. By default TensorFlow Datasets chooses it.

    Returns:
        The folder that holds the shards.
    """
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(num_classes=classes),
    }
    examples = (
        (number, {"image": image, "label": number % classes})
        for number, image in enumerate(images)
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="images",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": examples},
        data_dir=folder / file_format,
        file_format=file_format,
        download_config=tfds.download.DownloadConfig(num_shards=shards),
    )
    return folder / file_format / "images" / "1.0.0"
