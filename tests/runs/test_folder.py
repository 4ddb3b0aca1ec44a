"""A folder belongs to one run, and says so in its settings."""

import json

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.recipes import RECIPES
from keras_resnet.runs.folder import (
    begun,
    claim_folder,
    is_seen,
    lock_folder,
    settings,
)


def of_quickstart(**changes):
    machine = {"backend": "tensorflow", "precision": "float32", "xla": False}
    recipe = RECIPES["quickstart"]
    spec = ARCHITECTURES[recipe.network]
    wanted = settings(recipe, spec, 0, "abc", {}, **machine)
    return wanted | changes


def claim(folder, wanted):
    """As training does."""
    lock_folder(folder).close()
    return claim_folder(folder, wanted)


def test_a_folder_is_taken_once(tmp_path):
    folder = tmp_path / "run"
    assert not claim(folder, of_quickstart())
    assert not claim(folder, of_quickstart())
    with pytest.raises(ValueError, match=r"seed \(there 0, here 1\)"):
        claim(folder, of_quickstart(seed=1))
    (folder / "record.json").touch()
    assert claim(folder, of_quickstart())


def test_a_folder_with_a_lock_alone_is_free(tmp_path):
    assert not claim(tmp_path / "run", of_quickstart())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="must be empty or hold this run"):
        claim(tmp_path / "other", of_quickstart())


def test_a_run_keeps_its_precision_until_it_is_finished(tmp_path):
    claim(tmp_path, of_quickstart(precision="mixed_bfloat16", xla=True))
    assert begun(tmp_path, "tensorflow") == {
        "precision": "mixed_bfloat16",
        "xla": True,
    }
    assert begun(tmp_path, "jax") == {}
    with pytest.raises(
        ValueError,
        match=r"precision \(there 'mixed_bfloat16', here 'float32'\); xla \(there True",
    ):
        claim(tmp_path, of_quickstart())
    (tmp_path / "record.json").touch()
    assert claim(tmp_path, of_quickstart())
    assert begun(tmp_path, "tensorflow") == {}


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    (tmp_path / "run").mkdir()
    said = of_quickstart()
    for name in ("backend", "precision", "xla"):
        del said[name]
    (tmp_path / "run" / "settings.json").write_text(json.dumps(said))
    assert begun(tmp_path / "run", "jax") == {}
    assert not claim(tmp_path / "run", of_quickstart(backend="jax"))


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
