"""A landscape that was interrupted goes on, and never with points of something else."""

from dataclasses import replace

import numpy as np
import pytest

from keras_resnet import analysis
from keras_resnet.analysis import lesions, permutations, walk
from keras_resnet.analysis.walk import Point
from keras_resnet.export import fold
from keras_resnet.runs import analyses_of_weights, known_points
from keras_resnet.runs.analyses import ANALYSES
from keras_resnet.runs.known_points import KnownPoints
from keras_resnet.runs.subjects import AnalysisOptions, Subject
from tests.helpers.small_nets import CLASSES, data, shared_net

SHAPE = (1, 3)


def subject_in(folder, **changes):
    images, labels = data(6)
    whole = Subject(
        name="run",
        model=shared_net(),
        images=images,
        labels=labels,
        options=AnalysisOptions(points=3),
        progress=lambda done, total: None,
        classes=tuple(map(str, range(CLASSES))),
        preprocessing=None,
        folder=folder,
    )
    return replace(whole, **changes)


def interrupted(path, subject):
    with (
        pytest.raises(KeyboardInterrupt),
        KnownPoints(path).saved(subject, SHAPE) as (_, save),
    ):
        save(Point((0, 1), 2.0, 50.0, 1, 3))
        raise KeyboardInterrupt


def known(path, subject):
    with KnownPoints(path).saved(subject, SHAPE) as (points, _):
        return points


def test_what_was_measured_is_known_to_the_same_alone(tmp_path):
    path, subject = tmp_path / "analysis" / "landscape.npz", subject_in(tmp_path)
    interrupted(path, subject)
    found = known(path, subject)
    np.testing.assert_array_equal(found[:, 0, 1], [2, 50])
    assert np.isnan(found[:, 0, [0, 2]]).all()
    before = path.read_bytes()
    for changes in (
        {"model": shared_net(blocks=3)},
        {"images": subject.images + 1},
        {"labels": subject.labels[::-1]},
        {"options": AnalysisOptions(points=3, seed=1)},
        {"options": AnalysisOptions(points=3, range=0.5)},
    ):
        assert np.isnan(known(path, replace(subject, **changes))).all()
    assert path.read_bytes() == before
    interrupted(path, replace(subject, options=AnalysisOptions(seed=1)))
    assert known(path, subject)[0, 0, 1] == 2  # Both are in the file.


@pytest.mark.slow
def test_constants_that_decide_points_are_in_their_fingerprint(tmp_path, monkeypatch):
    for name in ("delete_each", "delete_random", "permute", "surface"):
        monkeypatch.setattr(analysis, name, lambda *_, **__: None)
    monkeypatch.setattr(fold, "fold_batch_norm", lambda model: model)
    subject = subject_in(tmp_path, model=shared_net(blocks=3))
    found, fingerprint = [], known_points._fingerprint

    def noted(*arguments):
        found.append(fingerprint(*arguments))
        return found[-1]

    monkeypatch.setattr(known_points, "_fingerprint", noted)

    def fingerprints():
        found.clear()
        for name in ("lesions", "permutations", "landscape"):
            ANALYSES[name].measure(subject)
        return list(found)

    before = fingerprints()
    assert fingerprints() == before and len(set(before)) == 4
    for module, constant, other, changed in (
        (lesions, "COUNTS", (1, 1, 3), [1]),  # Of one to three of the three blocks.
        (permutations, "SWAPS", (1, 2, 4, 8, 15), [2]),
        (analyses_of_weights, "CLIP", 9.0, [3]),
        (analyses_of_weights, "AT_ONCE", 32, [3]),
        (walk, "FAR", 2.0, [3]),
        (walk, "IMAGES_BEFORE_A_STOP", 32, [3]),
        (known_points, "__version__", "0.0", [0, 1, 2, 3]),
    ):
        assert getattr(module, constant) != other
        with monkeypatch.context() as patch:
            patch.setattr(module, constant, other)
            pairs = zip(before, fingerprints(), strict=True)
        assert [i for i, (a, b) in enumerate(pairs) if a != b] == changed, constant


@pytest.mark.parametrize("kind", ["half", "deflated"])
def test_a_damaged_file_is_begun_anew(tmp_path, kind):
    path, subject = tmp_path / "landscape.npz", subject_in(tmp_path)
    path.write_bytes(b"PK\x03\x04 half")
    if kind == "deflated":  # What `zlib` finds, not `zipfile`.
        np.savez_compressed(path, points=np.arange(64.0))
        contents = bytearray(path.read_bytes())
        contents[62:66] = b"\xff" * 4
        path.write_bytes(contents)
    with pytest.warns(UserWarning, match="can't be read .*begins anew"):
        assert np.isnan(known(path, subject)).all()


def test_points_that_another_process_measures_meanwhile_stay(tmp_path):
    path, subject = tmp_path / "landscape.npz", subject_in(tmp_path)
    other = replace(subject, options=AnalysisOptions(seed=1))
    with KnownPoints(path).saved(subject, SHAPE) as (_, save):
        interrupted(path, other)
        save(Point((0, 1), 2.0, 50.0, 1, 3))
    assert known(path, subject)[0, 0, 1] == known(path, other)[0, 0, 1] == 2


def test_a_folder_that_takes_nothing_is_a_warning(tmp_path):
    (tmp_path / "analysis").write_text("a file")
    path = tmp_path / "analysis" / "landscape.npz"
    with pytest.warns(UserWarning) as said:
        interrupted(path, subject_in(tmp_path))
    assert "Points aren't kept" in str(said[-1].message)
