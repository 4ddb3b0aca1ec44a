"""The data sets as rows: their classes, sizes, splits and sources."""

from dataclasses import dataclass
from typing import Literal

from keras_resnet.config.preprocessing import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)

# Goes before the name of a data set where a folder or a file of that name is there, too.
DATA_SET: str = "tfds:"


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set with its official splits.

    Attributes:
        classes: Number of classes.
        train, test: Names of the splits in the source. The test split is never
            used to choose anything.
        examples: Images to train on, those of the validation set left out.
        validation: Images split off the training set, the same ones in every run,
            balanced over the classes.
        preprocessing: Of the images, unless a recipe says otherwise.
        tfds: Name in TensorFlow Datasets, or `None` for the bundled set.
        storage: How the examples are held: ``"pixels"`` decodes all of them into
            memory once, ``"encoded"`` holds the JPEG files, ``"stream"`` reads them
            from disk in every epoch.
        source: Where the data set is published.
        class_names: In the order of the labels, for copies that bring none.

    Raises:
        ValueError: If `class_names` are given, and not one for each class.
    """

    classes: int
    train: str = "train"
    test: str = "test"
    examples: int
    validation: int
    preprocessing: Preprocessing
    tfds: str | None
    storage: Literal["pixels", "encoded", "stream"]
    source: str
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise ValueError(
                f"`class_names` must hold {self.classes} names, one per class. "
                f"Received: class_names={self.class_names}."
            )


FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def _cifar(classes, mean, std, source, class_names=None):
    return DatasetSpec(
        classes=classes,
        examples=45_000,
        validation=5_000,  # He et al. 2016a, sec. 4.2: "a 45k/5k train/val split".
        preprocessing=Preprocessing(
            channels=3, resize=None, size=(32, 32), mean=mean, std=std
        ),
        tfds=f"cifar{classes}",
        storage="pixels",
        source=source,
        class_names=class_names,
    )


def _fashion(tfds, examples, validation, source):
    return DatasetSpec(
        classes=10,
        examples=examples,
        validation=validation,
        preprocessing=Preprocessing(
            channels=1, resize=None, size=(28, 28), mean=(72.94,), std=(90.02,)
        ),
        tfds=tfds,
        storage="pixels",
        source=source,
        class_names=FASHION_CLASSES,
    )


def _imagenet(tfds, classes, test_split, examples, validation, storage, source):
    return DatasetSpec(
        classes=classes,
        test=test_split,
        examples=examples,
        validation=validation,
        preprocessing=Preprocessing(
            channels=3,
            resize=256,
            size=(224, 224),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            # Published errors are of photographs as they are stored.
            exif_orientation=False,
        ),
        tfds=tfds,
        storage=storage,
        source=source,
    )


DATASETS: dict[str, DatasetSpec] = {
    "fashion_mini": _fashion(
        None,
        13_300,
        500,
        "Xiao et al. 2017, arXiv:1708.07747, MIT licence; a class-balanced subset, "
        "see data/bundled/README.md",
    ),
    "fashion_mnist": _fashion(
        "fashion_mnist", 55_000, 5_000, "Xiao et al. 2017, arXiv:1708.07747"
    ),
    "cifar10": _cifar(
        10, CIFAR10_MEAN, CIFAR10_STD, "Krizhevsky 2009", CIFAR10_CLASSES
    ),
    "cifar100": _cifar(
        # fb.resnet.torch, datasets/cifar100.lua.
        100, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4), "Krizhevsky 2009"
    ),
    "svhn": DatasetSpec(
        classes=10,
        # Zagoruyko & Komodakis 2016 train on both, 604,388 images: 1.9 GB of pixels.
        train="train+extra",
        examples=598_388,
        validation=6_000,
        # The same: divided by 255, no mean.
        preprocessing=Preprocessing(
            channels=3, resize=None, size=(32, 32), mean=(0.0,) * 3, std=(255.0,) * 3
        ),
        tfds="svhn_cropped",
        storage="pixels",
        source="Netzer et al. 2011",
    ),
    "imagenette": _imagenet(
        "imagenette/160px-v2", 10, "validation", 8_969, 500, "encoded", "fastai/imagenette"
    ),
    "imagenet2012": _imagenet(
        # The labels of the official test set are not public: the official
        # validation set is the test split here, as in the papers' tables.
        "imagenet2012", 1000, "validation", 1_271_167, 10_000, "stream",
        "Russakovsky et al. 2015",
    ),
}  # fmt: skip
