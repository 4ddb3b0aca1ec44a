"""Data, weights and teachers are known by what they hold, wherever they lie."""

import contextlib
import json
import os
import re
import shlex
import shutil
import zipfile
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_resnet.cli.parser import parser
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import folders
from keras_resnet.data.identity import read_files
from keras_resnet.data.splitting import PATH, POSITION
from keras_resnet.devices.find import Devices
from keras_resnet.runs import refused
from keras_resnet.runs.begin import StaysThere
from keras_resnet.runs.differ import differences
from keras_resnet.runs.folder import (
    check_folder,
    claim_folder,
    lock_folder,
    read_settings,
)
from keras_resnet.runs.images import as_once_named, list_images, warn_of_changes
from keras_resnet.runs.places import folder_of
from keras_resnet.runs.refused import command, explained
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import settle

ONE = Devices("cpu", ("cpu:0",))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with twelve photographs of each of two classes, in ``photos``."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 256, (8, 9, 3), "uint8")
            Image.fromarray(pixels).save(tmp_path / f"photos/{name}/{number}.bmp")
    monkeypatch.chdir(tmp_path)
    # None is damaged, and to look takes longer than all else here.
    monkeypatch.setattr(folders, "_bad", lambda folder, paths: {})
    return tmp_path


def asked(**options):
    given = {"data": "photos", "network": "resnet20", "precision": "float32"}
    return TrainRequest(**given | {"xla": "off", "verbose": 0} | options)


def begin(**options):
    """A run with its first checkpoint: its job and its folder."""
    job = settle(asked(**options), ONE)
    folder = folder_of(job.request, job.name)
    folder.mkdir(parents=True)
    claim_folder(folder, job.settings())
    list_images(job, folder)
    (folder / "checkpoints/step_1").mkdir(parents=True)
    return job, folder


def check(folder, **options):
    """As `train` does before the first update."""
    job = settle(asked(**options), ONE)
    return check_folder(folder, job.settings(), partial(explained, job, folder))


def end(folder):
    """Makes a finished run of one that has begun, as far as others look."""
    (folder / "record.json").touch()
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")


def test_a_run_goes_on_wherever_its_images_lie(place):
    job, folder = begin()
    assert job.splits.split_by == PATH
    assert not check(folder)
    (place / "scratch").mkdir()
    (place / "photos").rename(place / "scratch/photos")
    os.symlink("scratch/photos", place / "link")
    for way in (
        "scratch/photos",
        place / "scratch/photos",
        "link",
        "./scratch/../link",
    ):
        assert not check(folder, data=way)
    recipe = {"recipe": "resnet20_cifar10", "network": None, "batch_size": 4}
    _, other = begin(data="link", **recipe)
    assert not check(other, data="scratch/photos", **recipe)
    with pytest.raises(
        ValueError, match=r"--data \(there 'a folder of images', here N"
    ):
        check(folder, data=None, recipe="quickstart", network=None)
    end(folder)
    assert check(folder, data="scratch/photos")


def test_images_that_changed_are_named(place):
    _, folder = begin()
    sides = {file.path: file.split for file in read_files(folder / "images.csv")}
    assert len(sides) == 24 and list(sides.values()).count("validation") == 2
    path = place / "photos/cat/3.bmp"
    data = path.read_bytes()  # All are of one size.
    path.write_bytes(data[:-20] + bytes(20))
    os.rename(place / "photos/dog/4.bmp", place / "photos/dog/new.bmp")
    said = (
        "photos, 1 image is new ('dog/new.bmp'); 1 image is gone ('dog/4.bmp'); 1 image "
        "holds something else ('cat/3.bmp'). Give the same"
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        check(folder)
    path.write_bytes(data)
    os.rename(place / "photos/dog/new.bmp", place / "photos/dog/4.bmp")
    assert not check(folder)
    with pytest.raises(
        ValueError, match=r"in another split.*; --val-fraction \(there 0"
    ):
        check(folder, val_fraction=0.5)
    with pytest.raises(ValueError, match=r"--group \(there None, here '\[0-9\]\+'\)"):
        check(folder, group="[0-9]+")


def test_a_run_that_an_earlier_version_began_keeps_its_split(place):
    """Its settings and record don't say how the images were split."""
    folder = place / "runs/resnet20_on_photos_seed0"
    (folder / "checkpoints/step_1").mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settle(asked(), ONE).settings()))
    found = read_settings(folder)
    assert found.pop("split_by") == PATH
    (folder / "settings.json").write_text(json.dumps(found))
    job = settle(asked(), ONE)
    assert job.splits.split_by == POSITION and "split_by" not in job.settings()
    (folder / "settings.json").write_text(
        json.dumps(found | {"data": job.splits.sha256})
    )
    assert not check(folder)
    (place / "photos").rename(place / "elsewhere")
    (place / "new").mkdir()
    (place / "elsewhere").rename(place / "new/photos")
    assert not check(folder, data="new/photos")
    list_images(job := settle(asked(data="new/photos"), ONE), folder)
    sides = [file.split for file in read_files(folder / "images.csv")]
    assert sides.count("validation") == job.splits.validation.size == 2
    # Other runs are split by paths.
    assert settle(asked(data="new/photos", seed=1), ONE).splits.split_by == PATH
    # It is found as well when its images have another name.
    (place / "new/photos").rename(place / "fashion_mini")
    job = settle(asked(data="./fashion_mini"), ONE)
    assert job.splits.split_by == PATH
    named, there = as_once_named(job, folder_of(job.request, job.name))
    assert (place / there, named.name) == (folder, "resnet20_on_photos")
    assert named.splits.split_by == POSITION
    assert not check_folder(folder, named.settings())


def test_a_folder_that_is_moved_while_its_run_is_trained_is_made_again(place, recwarn):
    job, folder = begin()
    with contextlib.ExitStack() as held:
        keeping = StaysThere(job, folder, held)
        keeping.on_test_begin()
        assert not recwarn.list
        folder.rename(place / "moved")
        other = replace(job, hardware=replace(ONE, workers=2, worker=1))
        StaysThere(other, folder, held).on_test_begin()
        assert not folder.exists()
        with pytest.warns(UserWarning, match="was moved or removed .* goes on there"):
            keeping.on_test_begin()
        (folder / "checkpoints/step_1").mkdir(parents=True)
        assert not check(folder)
        assert read_files(folder / "images.csv") == read_files(
            place / "moved/images.csv"
        )
        with pytest.raises(RuntimeError, match="another one does"):
            lock_folder(folder)


def test_images_that_change_while_a_run_is_trained_are_named(place, recwarn):
    job, folder = begin()
    warn_of_changes(job, folder)
    assert not recwarn.list
    path = place / "photos/cat/3.bmp"
    kept = path.read_bytes()
    shutil.copy(place / "photos/dog/3.bmp", path)
    with pytest.warns(UserWarning, match=r"1 image holds something else \('cat/3.bmp"):
        warn_of_changes(job, folder)
    path.unlink()
    with pytest.warns(UserWarning, match=r"cat/3.bmp can't be read \(No such file"):
        warn_of_changes(job, folder)
    # What an earlier version began, or couldn't list, isn't compared.
    path.write_bytes(kept)
    (folder / "images.csv").unlink()
    recwarn.clear()
    warn_of_changes(job, folder)
    assert not recwarn.list


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_whose_settings_say_less_is_found_by_another_name(place, finished):
    """As an earlier version wrote them."""
    job, folder = begin()
    known = read_settings(folder)
    for name in ("network", "backend", "precision", "xla", "contents"):
        known.pop(name, None)
    (folder / "settings.json").write_text(json.dumps(known))
    if finished:
        end(folder)
    (place / "photos").rename(place / "pictures")
    job = settle(asked(data="pictures"), ONE)
    named, there = as_once_named(job, folder_of(job.request, job.name))
    assert (there, named.name) == (folder, "resnet20_on_photos")
    assert check_folder(there, named.settings()) == finished
    (place / "pictures/cat/3.bmp").unlink()
    job = settle(asked(data="pictures"), ONE)
    place_of = folder_of(job.request, job.name)
    assert as_once_named(job, place_of) == (job, place_of)


def test_a_run_is_found_when_its_images_have_another_name(place):
    job, folder = begin()
    (place / "photos").rename(place / "pictures")
    job = settle(asked(data="pictures"), ONE)
    assert job.name == "resnet20_on_pictures"
    named, there = as_once_named(job, folder_of(job.request, job.name))
    assert (there, named.name) == (folder, "resnet20_on_photos")
    for other in ({"seed": 1}, {"epochs": 3}, {"name": "mine"}, {"val_fraction": 0.3}):
        job = settle(asked(data="pictures", **other), ONE)
        place_of = folder_of(job.request, job.name)
        assert as_once_named(job, place_of) == (job, place_of)


@pytest.mark.parametrize("option", ["weights", "teacher"])
def test_weights_are_known_by_what_they_hold(place, option):
    (place / "old").mkdir()
    (place / "old/model.keras").write_bytes(b"weights")
    ways = ["old"]
    if option == "weights":
        ways += ["old/model.keras", place / "new/model.keras"]
    _, folder = begin(**{option: "old"})
    for way in ways[:2]:
        assert not check(folder, **{option: way})
    (place / "old").rename(place / "new")
    os.symlink("new", place / "link")
    for way in ("new", place / "new", "link", *ways[2:]):
        assert not check(folder, **{option: way})
    (place / "new/model.keras").write_bytes(b"others")
    with pytest.raises(
        ValueError, match=rf"settings: --{option} \(there '[0-9a-f]{{64}}'"
    ):
        check(folder, **{option: "new"})
    # Earlier versions noted the path alone.
    before = {k: v for k, v in read_settings(folder).items() if k != "contents"}
    now = settle(asked(**{option: "new"}), ONE).settings()
    assert [key for key, *_ in differences(before, now)] == [f"--{option}"]
    before["overrides"][option] = str(place / "new")
    assert not differences(before, now)


def test_the_table_of_images_is_no_condition(place, monkeypatch):
    job, folder = begin()
    (folder / "images.csv").unlink()
    shutil.copy(place / "photos/cat/1.bmp", place / "photos/cat/more.bmp")
    with pytest.raises(
        ValueError, match=r"other settings: data \(there '[0-9a-f]{64}', "
    ):
        check(folder)

    def full(path, files):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("keras_resnet.runs.images.write_files", full)
    with pytest.warns(UserWarning, match="aren't listed in .*images.csv: .*No space"):
        list_images(job, folder)


# --- More epochs ------------------------------------------------------------------


def advised(folder, **options):
    """The request that the advised command makes."""
    with pytest.raises(ValueError, match="nothing but its length differs") as error:
        check(folder, **options)
    return parsed(shlex.split(str(error.value).splitlines()[-1]))


def parsed(words):
    """The request that the words of a command make."""
    assert words[:2] == ["keras-resnet", "train"]
    given = vars(parser().parse_args(words[1:]))
    changes = dict(given.pop("changes", ())) or None
    known = {k: v for k, v in given.items() if k in TrainRequest.__dataclass_fields__}
    return TrainRequest(**known, changes=changes)


def test_more_epochs_go_on_from_the_weights(place):
    own = {"val_fraction": 0.25, "group": r"\d+\.bmp", "no_flip": True, "seed": 3}
    own |= {"learning_rate": 0.015, "log": ("wandb", "mlflow")}
    _, folder = begin(epochs=2, **own)
    with pytest.raises(ValueError, match="Give the same again"):
        check(folder, epochs=4, **own)  # It has to finish first.
    end(folder)
    found = advised(folder, epochs=4.5, **own)
    name = "resnet20_on_photos_4.5_epochs"
    length = {"epochs": 2.5, "weights": str(folder), "name": name}
    assert found == asked(**own, **length, verbose=1)
    # It has a folder of its own, and the same validation images.
    assert settle(found, ONE).splits.sha256 == settle(asked(**own), ONE).splits.sha256
    for other in ({"epochs": 1}, {"epochs": 4, "augment": "none"}, {"steps": 2}):
        with pytest.raises(ValueError, match="Give the same again"):
            check(folder, **own | other)


def test_more_updates_of_a_recipe_go_on_from_the_weights(place):
    changes = {"augmentation.padding": 2, "rand_augment": "none"}
    recipe = {"data": None, "network": None, "recipe": "quickstart", "changes": changes}
    recipe["output_dir"] = "my runs"
    _, folder = begin(steps=10, **recipe)
    end(folder)
    found = advised(folder, steps=30, **recipe)
    length = {"steps": 20, "weights": str(folder), "name": "quickstart_30_steps"}
    assert found == asked(**recipe, **length, verbose=1)
    whole = advised(folder, **recipe)  # As long as the recipe is.
    assert whole.steps == RECIPES["quickstart"].steps - 10
    assert whole.epochs is None


@pytest.mark.parametrize(
    "asked",
    [
        {"data": "./cifar10", "network": "resnet20", "group": "-[0-9]+"},
        {"data": "tfds:cifar10", "recipe": "./cifar10.toml", "output_dir": "my runs"},
        {"data": "cifar10", "recipe": "quickstart", "weights": "./-file.keras"},
    ],
)
def test_a_command_asks_for_the_same(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = TrainRequest(**asked)
    (tmp_path / "cifar10").mkdir()
    said = command(request, {})
    assert parsed(shlex.split(said)) == request
    monkeypatch.setattr(refused, "sys", SimpleNamespace(platform="win32"))
    assert "'" not in command(request, {})
    assert parsed(shlex.split(command(request, {}))) == request


def test_an_object_is_named_as_an_argument(place):
    network = settle(asked(), ONE).spec
    mine = {"network": replace(network, name="mine")}
    _, folder = begin(steps=2, **mine)
    end(folder)
    with pytest.raises(ValueError) as error:
        check(folder, steps=6, **mine)
    assert str(error.value).splitlines()[-1] == (
        f"  keras_resnet.train(…, weights={str(folder)!r}, name='mine_on_photos_6_steps', "
        "steps=4), the rest as before"
    )
