"""A folder belongs to one run, and says so in its settings."""

import json
import zipfile
from dataclasses import replace

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import EARLIER
from keras_resnet.config.recipes import RECIPES
from keras_resnet.runs.folder import (
    PREPARING,
    SNAPSHOTS,
    claim_folder,
    is_seen,
    lock_folder,
    read_settings,
    settings,
)
from keras_resnet.runs.kept import begun

EVERY = RECIPES["quickstart"].validate_every


def of_quickstart(**changes):
    machine = {"backend": "tensorflow", "precision": "float32", "xla": False}
    machine |= {"crop_rounding": "round", "exif_orientation": True, "bit_depth": 16}
    recipe = RECIPES["quickstart"]
    spec = ARCHITECTURES[recipe.network]
    wanted = settings(recipe, spec, 0, "abc", {}, **machine)
    return wanted | changes


def claim(folder, wanted, trained=True):
    """As training does, which then saves a checkpoint."""
    lock_folder(folder).close()
    finished = claim_folder(folder, wanted)
    if trained:
        (folder / "checkpoints" / "step_1").mkdir(parents=True, exist_ok=True)
    return finished


def whole_network(folder):
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")


def test_a_folder_is_taken_once(tmp_path):
    folder = tmp_path / "run"
    assert not claim(folder, of_quickstart())
    assert not claim(folder, of_quickstart())
    with pytest.raises(ValueError, match=r"seed \(there 0, here 1\)"):
        claim(folder, of_quickstart(seed=1))
    (folder / "record.json").touch()
    assert not claim(folder, of_quickstart())  # The network is missing.
    whole_network(folder)
    assert claim(folder, of_quickstart())


def test_a_folder_with_a_lock_alone_is_free(tmp_path):
    assert not claim(tmp_path / "run", of_quickstart())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="must be empty or hold this run"):
        claim(tmp_path / "other", of_quickstart())


def test_a_run_that_was_stopped_before_anything_was_saved_makes_room(tmp_path):
    claim(tmp_path, of_quickstart(xla=True), trained=False)
    (tmp_path / "images.csv").touch()
    (tmp_path / "history.csv").write_text("step,epoch\n")
    (tmp_path / "checkpoints").mkdir()
    assert begun(tmp_path, "tensorflow") == {}
    assert not claim(tmp_path, of_quickstart(seed=1), trained=False)
    assert read_settings(tmp_path) == of_quickstart(seed=1)
    assert not (tmp_path / "images.csv").exists()  # It lists the other run's.
    (tmp_path / "history.csv").write_text("step,epoch\n4,1\n")
    with pytest.raises(ValueError, match="seed"):
        claim(tmp_path, of_quickstart())
    # Others have a file of that name, too.
    (tmp_path / "history.csv").unlink()
    (tmp_path / "settings.json").write_text('{"editor.tabSize": 4}')
    with pytest.raises(ValueError, match="must hold the settings of the run"):
        claim(tmp_path, of_quickstart())


def test_a_run_keeps_its_precision_until_it_is_finished(tmp_path):
    claim(tmp_path, of_quickstart(precision="mixed_bfloat16", xla=True))
    assert begun(tmp_path, "tensorflow") == {
        "precision": "mixed_bfloat16",
        "xla": True,
        "validate_every": EVERY,
    }
    assert begun(tmp_path, "jax") == {}
    with pytest.raises(
        ValueError,
        match=r"precision \(there 'mixed_bfloat16', here 'float32'\); xla \(there True",
    ):
        claim(tmp_path, of_quickstart())
    (tmp_path / "record.json").touch()
    whole_network(tmp_path)
    assert claim(tmp_path, of_quickstart())
    assert begun(tmp_path, "tensorflow") == {"validate_every": EVERY}


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    (tmp_path / "run" / "checkpoints" / "step_1").mkdir(parents=True)
    said = of_quickstart()
    for name in ("backend", "precision", "xla", *PREPARING):
        del said[name]
    (tmp_path / "run" / "settings.json").write_text(json.dumps(said))
    # With the images as they were prepared then.
    assert begun(tmp_path / "run", "jax") == {"validate_every": EVERY} | EARLIER
    assert not claim(tmp_path / "run", of_quickstart(backend="jax"))


def test_recipes_say_more_of_their_images_than_earlier(tmp_path):
    def wanted(recipe, **changes):
        machine = {"backend": "tensorflow", "precision": "float32", "xla": False}
        spec = ARCHITECTURES["resnet50_v1_5"]
        return settings(recipe, spec, 0, "abc", {}, **machine, **EARLIER | changes)

    for name in ("resnet50_fb_imagenet", "resnet50_tv2_imagenet"):
        row = RECIPES[name]
        said = json.loads(json.dumps(wanted(row)))
        for field in PREPARING:
            del said[field]
            del said["recipe"]["preprocessing"][field]
        if name == "resnet50_fb_imagenet":  # It was the data set's.
            said["recipe"]["preprocessing"] = None
        folder = tmp_path / name
        (folder / "checkpoints" / "step_1").mkdir(parents=True)
        (folder / "settings.json").write_text(json.dumps(said))
        assert not claim(folder, wanted(row))
        other = replace(row, preprocessing=replace(row.preprocessing, resize=300))
        with pytest.raises(ValueError, match="holds a run with other settings: prepr"):
            claim(folder, wanted(other))


def test_runs_of_other_crops_are_other_runs(tmp_path):
    claim(tmp_path, of_quickstart())
    kept = {"precision": "float32", "xla": False, "validate_every": EVERY}
    assert begun(tmp_path, "tensorflow") == kept
    with pytest.raises(
        ValueError, match=r"exif_orientation \(there True, here False\)"
    ):
        claim(tmp_path, of_quickstart(exif_orientation=False))


@pytest.mark.parametrize(
    "text", ["", "half", "{}", "[]", "7", '{"recipe": []}', '{"recipe": null}']
)
def test_settings_of_another_shape_are_named(tmp_path, text):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="settings.json must hold .* Put a copy"):
        claim(tmp_path, of_quickstart())
    assert path.read_text() == text


def test_settings_are_json(tmp_path):
    claim(tmp_path / "run", of_quickstart())
    text = (tmp_path / "run" / "settings.json").read_text()
    assert json.loads(text) == of_quickstart()


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    pytest.importorskip("fcntl")
    first = lock_folder(tmp_path)
    with pytest.raises(RuntimeError, match="One process at a time"):
        lock_folder(tmp_path)
    first.close()
    lock_folder(tmp_path).close()


def test_a_folder_is_seen_once_its_settings_are(tmp_path):
    assert not is_seen(tmp_path, seconds=0)
    (tmp_path / "settings.json").touch()
    assert is_seen(tmp_path, seconds=0)


def test_initial_weights_alone_are_no_beginning(tmp_path):
    """A run that was stopped at once leaves the folder, and no weights, to the next."""
    claim(tmp_path, of_quickstart(), trained=False)
    (tmp_path / SNAPSHOTS).mkdir()
    (tmp_path / SNAPSHOTS / "update_00000000.npz").touch()
    assert not claim(tmp_path, of_quickstart())
    assert not (tmp_path / SNAPSHOTS).exists()
