"""A small classifier, exported."""

import keras
import tensorflow as tf

from keras_resnet.export.saved_model import export_saved_model

NAMES = ["cat", "dog", "Käfer", "ship", "truck", "frog", "deer"]


def classifier(*, channels=3, classes=7, activation=None, filters=16, **options):
    return keras.Sequential(
        [
            keras.Input((16, 16, channels)),
            keras.layers.Conv2D(filters, 3, padding="same", **options),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation=activation),
        ]
    )


def decoder(channels):
    def decode(image_bytes):
        image = tf.io.decode_image(
            image_bytes, channels=channels, expand_animations=False
        )
        image.set_shape([None, None, channels])
        image = tf.image.resize(image, (16, 16), antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)

    return decode


def normalize(images):
    return (tf.cast(images, tf.float32) - 127.5) / 60.0


def export(model, path, *, channels=3, names=NAMES, **options):
    return export_saved_model(
        model,
        path,
        decode=decoder(channels),
        normalize=normalize,
        class_names=names,
        **options,
    )
