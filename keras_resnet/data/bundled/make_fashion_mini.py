"""Makes `fashion_mini.npz` from the four original files of Fashion-MNIST.

    python -m keras_resnet.data.bundled.make_fashion_mini IDX_FOLDER [OUTPUT]

Debian's package dataset-fashion-mnist puts the files under
/usr/share/datasets/fashion-mnist; they are also at
https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pathlib
import sys
import zipfile
from collections.abc import Mapping

import numpy as np

CLASSES = 10
TRAIN_PER_CLASS = 1_380  # The most, in tens, that keeps the file under 6 MB.
TEST_PER_CLASS = 200
OUTPUT = pathlib.Path(__file__).with_name("fashion_mini.npz")


def read_idx(path: pathlib.Path) -> np.ndarray:
    """Reads an array of bytes from a gzipped IDX file (LeCun's MNIST format).

    Raises:
        ValueError: If the file isn't one.
    """
    contents = gzip.decompress(pathlib.Path(path).read_bytes())
    # Two zeros, 8 for unsigned bytes, the rank; then the big-endian sizes.
    rank = contents[3]
    if contents[:3] != b"\x00\x00\x08":
        raise ValueError(
            "An IDX file of unsigned bytes must start with 00 00 08. "
            f"Received: path={str(path)!r}, which starts with {contents[:3].hex(' ')}."
        )
    sizes = np.frombuffer(contents, ">i4", count=rank, offset=4)
    return np.frombuffer(contents, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def balanced_subset(
    labels: np.ndarray, per_class: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws ``per_class`` examples of every class; sorted indices."""
    drawn = [
        rng.permutation(np.flatnonzero(labels == label))[:per_class]
        for label in range(CLASSES)
    ]
    return np.sort(np.concatenate(drawn))


def write_npz(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes what `np.load` reads, LZMA-compressed and without the time of day."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_LZMA
            member.create_system = 3  # Unix, on whichever system this runs.
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array))
            archive.writestr(member, buffer.getvalue())


def main(idx_folder: str | os.PathLike[str], output: pathlib.Path = OUTPUT) -> None:
    """Reads the IDX files in ``idx_folder``, writes ``output``, prints its sha256."""
    folder = pathlib.Path(idx_folder)
    rng = np.random.default_rng(0)
    arrays = {}
    for split, prefix, per_class in (
        ("train", "train", TRAIN_PER_CLASS),
        ("test", "t10k", TEST_PER_CLASS),
    ):
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
        chosen = balanced_subset(labels, per_class, rng)
        arrays[f"{split}_images"] = images[chosen]
        arrays[f"{split}_labels"] = labels[chosen]
    write_npz(output, arrays)
    contents = pathlib.Path(output).read_bytes()
    print(f"{output}: {len(contents):,} bytes")
    print(f"sha256 {hashlib.sha256(contents).hexdigest()}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
