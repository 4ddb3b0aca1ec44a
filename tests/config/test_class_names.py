"""Names of classes: 1,000 different ones for ImageNet's, wherever they are read."""

import types

import pytest

from keras_resnet.config.class_names import (
    HOMONYMS,
    check_class_names,
    imagenet_classes,
    imagenet_numbers,
    named_classes,
    places_in_imagenet,
    told_apart,
)
from keras_resnet.export import load as exported
from keras_resnet.runs.examples import has_classes
from keras_resnet.weights.facts import names_or_numbers

# By the numbers of their folders (synsets) in ImageNet's `LOC_synset_mapping.txt`.
APART = {
    134: "crane (n02012849)",
    517: "crane (n03126707)",
    638: "maillot (n03710637)",
    639: "maillot (n03710721)",
}


@pytest.fixture
def names():
    """As keras.applications and timm have them: the first of each class's synonyms."""
    same = {index: name.split(" (")[0] for index, name in APART.items()}
    return [same.get(i, name) for i, name in enumerate(imagenet_classes())]


def from_file(names, folder):
    (folder / "names.txt").write_text("\n".join(names))
    return named_classes(folder / "names.txt")


def from_labels(names, folder):
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names))
    return exported._names(folder / "labels.txt")


@pytest.mark.parametrize(
    "read",
    [
        lambda names, folder: told_apart(names),
        lambda names, folder: names_or_numbers(names, 1000),
        from_file,
        from_labels,
    ],
    ids=["told_apart", "weights", "file", "labels.txt"],
)
def test_two_cranes_and_two_maillots(names, tmp_path, read):
    assert len(set(names)) == 998
    found = read(names, tmp_path)
    assert len(set(found)) == 1000
    check_class_names(found)
    differences = {i: new for i, new in enumerate(found) if new != names[i]}
    assert differences == APART


def test_other_names_stay_as_they_are(names):
    assert told_apart(imagenet_classes()) == imagenet_classes()
    assert told_apart(names[:999]) == tuple(names[:999])
    with pytest.raises(ValueError, match="each name once"):
        check_class_names(told_apart(["ant", "ant", *names[2:]]))


@pytest.mark.parametrize("index", APART)
def test_other_names_may_not_stand_twice(index, tmp_path):
    own = [f"part {number}" for number in range(1000)]
    own[index] = own[0]
    assert told_apart(own) == tuple(own)
    (tmp_path / "parts.txt").write_text("\n".join(own))
    with pytest.raises(ValueError, match="each once. Received: 'part 0' twice"):
        named_classes(tmp_path / "parts.txt")


def test_data_with_the_names_of_before_has_the_classes(names):
    run = types.SimpleNamespace(classes=told_apart(names), record={})
    assert has_classes(run, names) and has_classes(run, told_apart(names))
    assert not has_classes(run, imagenet_classes()[::-1])


def test_wordnet_numbers_are_those_of_the_names():
    numbers, names = imagenet_numbers(), imagenet_classes()
    assert len(numbers) == len(names) == 1000 and sorted(numbers) == list(numbers)
    # The two cranes and the two maillots, as `HOMONYMS` has them from another source.
    for rows in HOMONYMS.values():
        assert {index: numbers[index] for index in rows} == rows
    assert places_in_imagenet(["n02123045", "n02085620-Chihuahua"]) == [281, 151]
    assert (names[281], names[151]) == ("tabby", "Chihuahua")
    assert places_in_imagenet(["n02123045", "tabby"]) is None
    assert places_in_imagenet(["n021230451"]) is None


@pytest.mark.parity
def test_photographs_are_called_by_number_and_name(shared_data):
    files = sorted((shared_data / "imagenet_samples").glob("*.JPEG"))
    for file in files:
        number, name = file.stem.split("_", 1)
        [place] = places_in_imagenet([number])
        assert imagenet_classes()[place].lower() == name.replace("_", " ").lower()
