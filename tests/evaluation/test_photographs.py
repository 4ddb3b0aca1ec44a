"""From photographs to ranks, by every protocol, as torchvision goes.

Pixels are those of torchvision's transforms, and a network with torchvision's weights puts
the same classes first. No trained weights are needed: those here are random.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.class_names import imagenet_numbers, places_in_imagenet
from keras_resnet.config.protocols import PROTOCOLS
from keras_resnet.data.images import normalize
from keras_resnet.evaluation.crops import views
from keras_resnet.runs.convert import convert
from keras_resnet.runs.evaluate import evaluate
from keras_resnet.runs.load import load
from keras_resnet.runs.predictions import path_of, read_predictions
from keras_resnet.weights.download import imagenet

pytestmark = pytest.mark.parity

OWN = imagenet(resize=256, size=(224, 224), crop_rounding="round")
# Each protocol, one scale at a time.
CASES = [
    (name, scale) for name, row in PROTOCOLS.items() for scale in row.scales or (256,)
]


def transform(protocol, scale):
    """What torchvision's transforms make of an image: a list of arrays."""
    from torchvision.transforms import CenterCrop, Resize, TenCrop

    resize, crop = Resize(scale), protocol.crop or 224

    def made(image):
        whole = resize(image)
        if protocol.dense:
            return [np.asarray(whole)]
        if protocol.crops == 10:
            return [np.asarray(one) for one in TenCrop(crop)(whole)]
        return [np.asarray(CenterCrop(crop)(whole))]

    return made


def check_pixels(files, name, scale):
    protocol = PROTOCOLS[name]
    one = replace(protocol, scales=(scale,)) if protocol.scales else protocol
    theirs = transform(protocol, scale)
    for contents in files:
        image = Image.open(io.BytesIO(contents)).convert("RGB")
        (ours,) = views(np.asarray(image), OWN, one)
        for found, expected in zip(ours, theirs(image), strict=True):
            difference = np.abs(np.asarray(found, int) - np.asarray(expected, int))
            assert difference.max() <= 1
            assert difference.mean() < 0.35


@pytest.fixture(scope="module")
def photographs(shared_data):
    return sorted((shared_data / "imagenet_samples").glob("*.JPEG"))


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_pixels_of_a_few_photographs(torchvision, photographs, name, scale):
    check_pixels([one.read_bytes() for one in photographs[::50]], name, scale)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "scale"), CASES)
def test_pixels_of_all_photographs(torchvision, photographs, name, scale):
    check_pixels([one.read_bytes() for one in photographs], name, scale)


# --- Ranks ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(torchvision, torch, references, photographs):
    """torchvision's ResNet-18 with random weights that tell photographs apart."""
    prepare = of_torchvision(torchvision)
    few = [prepare(Image.open(one).convert("RGB")) for one in photographs[::25]]
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None)
    references.randomize(model, torch.stack(few))
    return model.eval()


def of_torchvision(torchvision):
    """Everything that torchvision's weights say is done with an image."""
    return torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()


@pytest.fixture(scope="module")
def converted(network, torch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    torch.save(network.state_dict(), folder / "resnet18.pth")
    with pytest.warns(UserWarning, match="preprocessing"):
        convert(
            folder / "resnet18.pth",
            folder / "net",
            network="resnet18",
            classes="imagenet",
        )
    return load(folder / "net")


@pytest.fixture(scope="module")
def by_class(photographs, tmp_path_factory):
    """The photographs, each in a folder of its class, which is called by its number."""
    root = tmp_path_factory.mktemp("photographs")
    for file in photographs:
        folder = root / file.name.split("_")[0]
        folder.mkdir()
        (folder / file.name).write_bytes(file.read_bytes())
    return root


def probabilities(network, torch, batches):
    """torchvision's, float64, of batches of tensors that it has prepared."""
    with torch.inference_mode():
        found = [network(batch).double().softmax(1).numpy() for batch in batches]
    return np.concatenate(found)


def first_five(rows):
    return np.argsort(-rows, axis=1, kind="stable")[:, :5]


def check_ranks(ours, theirs, margin):
    """Checks that top-1 and top-5 are equal, but where classes are nearly as probable.

    Args:
        margin: By which the logarithms of such probabilities differ at most.

    Returns:
        On how many images the first classes are equal, and the sets of the first five.
    """
    logs, first, five = np.log(theirs), 0, 0
    rows = zip(first_five(ours), first_five(theirs), logs, strict=True)
    for mine, other, row in rows:
        assert row[other[0]] - row[mine[0]] <= margin
        # Those that change places are near the fifth.
        assert all(row[other[4]] - row[one] <= margin for one in set(mine) - set(other))
        first += int(mine[0] == other[0])
        five += set(mine) == set(other)
    return first, five


@pytest.mark.exhaustive
@pytest.mark.xdist_group("photographs")
def test_ranks_are_torchvisions(
    torchvision, torch, network, converted, by_class, photographs, record_property
):
    prepare = of_torchvision(torchvision)
    tensors = torch.stack(
        [prepare(Image.open(one).convert("RGB")) for one in photographs]
    )
    theirs = probabilities(network, torch, tensors.split(40))
    # Of the same pixels, all ranks are equal but for ties.
    images = np.ascontiguousarray(tensors.numpy().transpose(0, 2, 3, 1))
    logits = converted.model.predict(images, batch_size=40, verbose=0).astype(float)
    same = np.exp(logits - logits.max(1, keepdims=True))
    same /= same.sum(1, keepdims=True)
    by_same_pixels = check_ranks(same, theirs, margin=1e-4)
    assert min(by_same_pixels) >= 198
    # By the whole path, pixels differ by a grey level here and there.
    with pytest.warns(UserWarning, match="has 200 of the network's 1,000 classes"):
        result = evaluate(converted, data=by_class, batch_size=40)
    kept = read_predictions(path_of(converted.folder, result))
    names = [name.rsplit("/")[-1] for name in kept.names]
    assert names == [one.name for one in photographs]
    labels = places_in_imagenet([name.split("_")[0] for name in names])
    assert kept.labels.tolist() == labels
    by_files = check_ranks(kept.probabilities, theirs, margin=0.05)
    record_property("equal_by_same_pixels_and_by_files", [by_same_pixels, by_files])
    assert min(by_files) >= 180
    # Errors are among all 1,000 classes.
    wrong = [
        one not in five for one, five in zip(labels, first_five(theirs), strict=True)
    ]
    assert abs(result["top5_error"] - 100 * np.mean(wrong)) <= 1
    assert result["n"] == 200 and len(imagenet_numbers()) == kept.probabilities.shape[1]


@pytest.mark.exhaustive
@pytest.mark.xdist_group("photographs")
def test_ten_crops_and_torchvisions_size_give_its_ranks(
    torchvision, torch, network, converted, photographs, tmp_path
):
    from torchvision.transforms.functional import normalize as normalized
    from torchvision.transforms.functional import to_tensor

    for file in photographs[::20]:
        folder = tmp_path / "data" / file.name.split("_")[0]
        folder.mkdir(parents=True)
        (folder / file.name).write_bytes(file.read_bytes())
    weights = of_torchvision(torchvision)
    for name in ("he2015_10crop", "torchvision_v2"):
        protocol = PROTOCOLS[name]
        cut = transform(protocol, protocol.scales[0])
        batches = [
            torch.stack(
                [
                    normalized(to_tensor(one), weights.mean, weights.std)
                    for one in cut(Image.open(file).convert("RGB"))
                ]
            )
            for file in photographs[::20]
        ]
        theirs = np.stack([probabilities(network, torch, [b]).mean(0) for b in batches])
        with pytest.warns(UserWarning, match="has 10 of the network's 1,000 classes"):
            result = evaluate(
                converted, data=tmp_path / "data", protocol=name, batch_size=20
            )
        kept = read_predictions(path_of(converted.folder, result))
        assert min(check_ranks(kept.probabilities, theirs, margin=0.05)) >= 8


def test_grey_levels_are_normalized_as_torchvisions(torchvision, torch):
    from torchvision.transforms.functional import normalize as normalized
    from torchvision.transforms.functional import to_tensor

    pixels = np.arange(256, dtype="uint8").repeat(3).reshape(16, 16, 3)
    weights = of_torchvision(torchvision)
    theirs = normalized(to_tensor(pixels), weights.mean, weights.std)
    np.testing.assert_allclose(
        np.asarray(normalize(pixels, OWN)),
        theirs.numpy().transpose(1, 2, 0),
        atol=1e-5,
    )
