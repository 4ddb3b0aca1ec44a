"""Pixels of evaluation, compared with torchvision's and timm's transforms of photographs.

docs/differences.md has the numbers; `python -m tests.data.test_image_parity FOLDER` prints
them.
"""

import io
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.preprocessing import CROP_ROUNDING
from keras_resnet.data.images import prepare
from keras_resnet.weights.download import imagenet

pytestmark = pytest.mark.parity

# Resized to, cropped to, interpolation: as torchvision's two sets of weights and timm's
# resnet50.a1_in1k and resnet50d.ra2_in1k are tested.
PROTOCOLS = {
    "torchvision": [(256, 224, "bilinear"), (232, 224, "bilinear")],
    "timm": [(235, 224, "bicubic"), (269, 256, "bicubic")],
}
SIZES = [(500, 375), (333, 500), (301, 403), (259, 260), (224, 271), (900, 225)]
# What torchvision's crops leave of these is 3 modulo 4, where flooring is another place.
SIZES += [(339, 256), (235, 232)]


def by_torchvision(resize, crop, interpolation):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    mode = InterpolationMode(interpolation)
    return Compose([Resize(resize, interpolation=mode), CenterCrop(crop)])


def by_timm(resize, crop, interpolation):
    from timm.data import create_transform
    from torchvision.transforms import Compose

    whole = create_transform(crop, interpolation=interpolation, crop_pct=crop / resize)
    # Then it makes a tensor and normalizes.
    return Compose(whole.transforms[:2])


THEIRS = {"torchvision": by_torchvision, "timm": by_timm}


def differences(files, library, protocol, rounding=None):
    """Absolute differences, in grey levels, of our pixels from a library's."""
    resize, crop, interpolation = protocol
    ours = imagenet(
        resize=resize,
        size=(crop, crop),
        interpolation=interpolation,
        crop_rounding=rounding or CROP_ROUNDING[library],
    )
    transform = THEIRS[library](*protocol)
    found = []
    for contents in files:
        image = Image.open(io.BytesIO(contents)).convert("RGB")
        expected = np.asarray(transform(image), np.int16)
        found.append(np.abs(np.asarray(prepare(contents, ours), np.int16) - expected))
    return np.stack(found)


CASES = [(library, one) for library, some in PROTOCOLS.items() for one in some]


@pytest.mark.parametrize(("library", "protocol"), CASES)
def test_drawn_images_of_all_remainders(torchvision, library, protocol):
    pytest.importorskip(library)
    chance = np.random.default_rng(0)
    files = []
    for width, height in SIZES:
        coarse = chance.integers(0, 256, (height // 9, width // 9, 3), np.uint8)
        image = Image.fromarray(coarse).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        files.append(buffer.getvalue())
    found = differences(files, library, protocol)
    # Pillow rounds to 8 bits, and cuts what overshoots, between rows and columns.
    assert found.mean() < 0.3 and found.max() <= (2 if "bilinear" in protocol else 20)
    # Of these images, smooth as they are, a crop one pixel off differs in the mean.
    assert differences(files, library, protocol, "floor").mean((1, 2, 3)).max() > 1


@pytest.mark.slow
@pytest.mark.parametrize(("library", "protocol"), CASES)
def test_photographs(torchvision, shared_data, library, protocol):
    pytest.importorskip(library)
    files = photographs(shared_data / "imagenet_samples")
    found = differences(files, library, protocol)
    assert found.mean((1, 2, 3)).max() < 0.5
    assert found.max() <= (2 if "bilinear" in protocol else 20)


def photographs(folder):
    return [file.read_bytes() for file in sorted(pathlib.Path(folder).glob("*.JPEG"))]


def main(folder):
    """Prints the rows of the table in docs/differences.md."""
    from tests.helpers.torch_references import import_torchvision

    import_torchvision()
    files = photographs(folder)
    for library, protocol in CASES:
        for rounding in (CROP_ROUNDING[library], "floor"):
            found = differences(files, library, protocol, rounding)
            moved = int((found.mean((1, 2, 3)) > 1).sum())
            print(
                f"| {library} | {protocol[0]}, {protocol[1]}, {protocol[2]} | {rounding} "
                f"| {found.mean():.3f} | {(found > 1).mean() * 100:.3f} % | {found.max()} "
                f"| {moved} of {len(files)} |"
            )


if __name__ == "__main__":
    main(sys.argv[1])
