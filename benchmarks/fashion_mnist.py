"""Fashion-MNIST's IDX files as folders of PNG files, for `keras-resnet train --data`.

    python -m benchmarks.fashion_mnist IDX_FOLDER OUTPUT

Debian's package dataset-fashion-mnist puts the four files into
/usr/share/datasets/fashion-mnist. OUTPUT gets `train/` with 60,000 images and `test/` with
10,000, in a folder for each class, without loss.
"""

import pathlib
import shutil
import sys

from PIL import Image

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data.bundled.make_fashion_mini import read_idx

CLASS_NAMES = DATASETS["fashion_mini"].class_names
SPLITS = {"train": "train", "test": "t10k"}


def write(idx_folder, output):
    """Writes all images; ``output`` appears when it is complete.

    Raises:
        FileNotFoundError: If the IDX files are not there.
        FileExistsError: If ``output`` is there.
    """
    idx_folder, output = pathlib.Path(idx_folder), pathlib.Path(output)
    if output.exists():
        raise FileExistsError(f"The output must not exist yet. Received: {output}.")
    part = output.with_name(f"writing_{output.name}")
    shutil.rmtree(part, ignore_errors=True)
    for split, prefix in SPLITS.items():
        images = read_idx(idx_folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(idx_folder / f"{prefix}-labels-idx1-ubyte.gz")
        folders = [
            part / split / f"{number}_{name.replace('/', '-').replace(' ', '_')}"
            for number, name in enumerate(CLASS_NAMES)
        ]
        for folder in folders:
            folder.mkdir(parents=True)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            Image.fromarray(image).save(folders[label] / f"{index:05d}.png")
    part.rename(output)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        write(*sys.argv[1:])
    except FileNotFoundError as error:
        sys.exit(f"{error} Debian: apt-get install dataset-fashion-mnist")
    except FileExistsError as error:
        sys.exit(str(error))
