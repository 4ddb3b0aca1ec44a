"""Runs measured by protocols, together and against each other; predictions kept."""

import argparse
import shutil
from dataclasses import replace

import numpy as np
import pytest

from keras_resnet.cli.measuring import protocol_of, scales
from keras_resnet.cli.parser import parser
from keras_resnet.config.protocols import PROTOCOLS, Protocol, name_of
from keras_resnet.data.examples import Examples
from keras_resnet.evaluation.metrics import from_probabilities
from keras_resnet.evaluation.statistics import paired_test
from keras_resnet.runs import evaluate as evaluation
from keras_resnet.runs.ensemble import evaluate_several
from keras_resnet.runs.evaluate import evaluate, read_evaluations
from keras_resnet.runs.load import load
from keras_resnet.runs.measure import measure
from keras_resnet.runs.predictions import kept_predictions, path_of, read_predictions
from tests.conftest import REPOSITORY

QUICKSTART = REPOSITORY / "saved_models/quickstart_seed0"
TWO = Protocol(crops=2, source="test")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A copy of the quickstart's run, measured on 200 images of the test split."""
    folder = tmp_path_factory.mktemp("runs") / "quickstart_seed0"
    shutil.copytree(QUICKSTART, folder)
    return load(folder)


@pytest.fixture
def few(monkeypatch):
    """Lets each run be measured on the first 200 images of its split."""
    whole = evaluation.examples_of

    def first(*arguments):
        splits, split, examples = whole(*arguments)
        few = Examples(examples.images[:200], examples.labels[:200])
        return splits, split, few

    monkeypatch.setattr(evaluation, "examples_of", first)


@pytest.mark.slow
def test_results_and_predictions_are_kept_by_protocol(run, few):
    one = run.evaluate()
    two = run.evaluate(protocol=TWO)
    assert (one["protocol"], two["protocol"]) == ("single_crop", "2_crops")
    assert read_evaluations(run.folder / "evaluation.json") == [one, two]
    for result in (one, two):
        kept = kept_predictions(run.folder, result, classes=10)
        assert kept.digest() == result["predictions_sha256"]
        assert kept.names.tolist() == [str(n) for n in range(200)]
        assert kept.sha256 == result["sha256"]
        again = from_probabilities(kept.probabilities, kept.labels)
        assert again.top1_error == result["top1_error"]
        assert again.loss == pytest.approx(result["loss"], rel=1e-6)
        low, high = result["top1_interval"]
        assert low < result["top1_error"] < high
        assert 0 <= result["ece"] <= 1
    # The protocol's two views are those of the images and of their mirror images.
    examples = evaluation.examples_of(run, None, None, None)[2]
    mirrored = Examples(examples.images[:, :, ::-1], examples.labels)
    single = PROTOCOLS["single_crop"]
    both = [
        measure(run, some, single, batch_size=50)[1] for some in (examples, mirrored)
    ]
    np.testing.assert_allclose(
        kept.probabilities, np.mean(both, axis=0), rtol=1e-4, atol=1e-6
    )


def test_an_ensemble_of_copies_is_the_run(run, few, tmp_path):
    found = evaluate_several([run, replace(run, folder=tmp_path)])
    alone = found["runs"][0]
    ensemble = found["ensemble"]
    assert {key: alone[key] for key in ensemble if key != "loss"} == {
        key: ensemble[key] for key in ensemble if key != "loss"
    }
    assert ensemble["loss"] == pytest.approx(alone["loss"], rel=1e-6)
    assert found["paired_test"] == {
        "first_alone": 0,
        "second_alone": 0,
        "p_value": 1.0,
    }


def test_two_runs_are_averaged_and_compared(run, few, tmp_path):
    """The second sees the images darker, so that it is another classifier."""
    darker = replace(run.preprocessing, mean=(run.preprocessing.mean[0] + 60,))
    other = replace(run, preprocessing=darker, folder=tmp_path)
    found = evaluate_several([run, other])
    kept = [
        read_predictions(path_of(one.folder, result))
        for one, result in zip((run, other), found["runs"], strict=True)
    ]
    together = np.mean([one.probabilities for one in kept], axis=0)
    assert found["ensemble"]["top1_error"] == pytest.approx(
        100 * np.mean(together.argmax(axis=1) != kept[0].labels)
    )
    expected = paired_test(kept[0].correct, kept[1].correct)
    assert found["paired_test"] == vars(expected)
    assert expected.first_alone != expected.second_alone


def test_what_was_seen_is_told(run, few):
    counts = []
    evaluate(run, protocol=TWO, batch_size=64, seen=counts.append)
    assert sum(counts) == 200 and len(counts) == 7


def test_runs_that_make_no_ensemble(run, tmp_path):
    with pytest.raises(ValueError, match="at least two runs. Received: 1"):
        evaluate_several([run])
    with pytest.raises(ValueError, match="must have the same classes"):
        evaluate_several([run, replace(run, classes=run.classes[::-1])])
    for wrong in (0, -5):
        with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
            evaluate(run, batch_size=wrong)
        with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
            evaluate_several([run, run], batch_size=wrong)


def test_what_is_not_kept_is_named_and_nothing_else_is_taken_for_it(
    run, few, tmp_path, monkeypatch
):
    def full(path, values):
        raise OSError(28, "No space left on device")

    labels = np.arange(200) % 10
    own = replace(run, folder=tmp_path)

    def evaluated(share, write=None, what=None):
        probabilities = np.eye(10, dtype="float32")[labels] * share + (1 - share) / 10
        measured = from_probabilities(probabilities, labels), probabilities, labels
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "measure", lambda *_, **options: measured)
            if write is None:
                return evaluate(own)
            patch.setattr(evaluation, write, full)
            with pytest.warns(UserWarning, match=what) as said:
                result = evaluate(own)
        assert [one.filename for one in said] == [__file__]
        return result

    unkept = r"predicted of each image isn't kept in .*\.npz: .*No space"
    first = evaluated(0.8, "write_predictions", unkept)
    with pytest.raises(FileNotFoundError):
        kept_predictions(tmp_path, first, classes=10)
    first = evaluated(0.8)
    path = path_of(tmp_path, first)
    before = path.read_bytes()
    # Those of the first measurement stay beside the result of the second.
    second = evaluated(0.7, "write_predictions", unkept)
    assert second["top1_error"] == first["top1_error"]
    with pytest.raises(
        ValueError, match="it is of another measurement: one of the two"
    ):
        kept_predictions(tmp_path, second, classes=10)
    del second["predictions_sha256"]  # Earlier versions had none.
    kept_predictions(tmp_path, second, classes=10)
    # Predictions without their result would stand beside an earlier one.
    evaluated(
        0.6, "write_json", r"The result isn't kept in .*evaluation\.json: .*No sp"
    )
    assert path.read_bytes() == before


def test_a_run_may_be_measured_by_two_processes_at_once(
    run, few, tmp_path, monkeypatch
):
    labels = np.arange(200) % 10
    probabilities = np.eye(10, dtype="float32")[labels] * 0.8 + 0.02
    measured = from_probabilities(probabilities, labels), probabilities, labels
    own, others = replace(run, folder=tmp_path), []

    def measure(*_, **options):
        if not others:  # The first is measuring yet when the second is done.
            others.append(None)
            others[0] = evaluate(own, protocol=TWO)
        return measured

    monkeypatch.setattr(evaluation, "measure", measure)
    result = evaluate(own)
    assert read_evaluations(tmp_path / "evaluation.json") == [*others, result]


def test_folders_of_one_name_have_predictions_of_their_own(tmp_path):
    result = {"data": "val", "split": "all", "protocol": "single_crop"}
    paths = {
        path_of(tmp_path, result | {"sha256": known})
        for known in ("01234567ab", "0123456789", "76543210ab")
    }
    assert {path.name for path in paths} == {
        f"val_{known}_all_single_crop.npz" for known in ("01234567", "76543210")
    }


def test_damaged_predictions_are_named(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(ValueError, match="a.npz must hold predictions"):
        read_predictions(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path / "b.npz")


def options(*given):
    return parser().parse_args(["evaluate", "runs/a", *given])


def test_options_make_a_protocol():
    made = protocol_of(options("--resize", "320", "--size", "320"))
    assert name_of(made) == "he2016_320"
    made = protocol_of(options("--scales", "224,256", "--dense", "--crops", "2"))
    assert made == Protocol(
        scales=(224, 256), crops=2, dense=True, source="the command line"
    )
    assert name_of(made) == "dense_and_mirrored_at_224_256"
    made = protocol_of(
        options("--crops", "10", "--scales", "40", "--average", "logits")
    )
    assert name_of(made) == "10_crops_at_40_logits"
    assert protocol_of(options("--protocol", "fb_10crop")) == "fb_10crop"
    assert name_of(protocol_of(options())) == "single_crop"
    with pytest.raises(ValueError, match="Received: --protocol fb_10crop and --crops"):
        protocol_of(options("--protocol", "fb_10crop", "--crops", "2"))
    with pytest.raises(ValueError, match="`crop` must be an integer from 1 to 10,000"):
        protocol_of(options("--crop", "0"))
    with pytest.raises(
        ValueError, match="`scales` must hold integers from 1 to 10,000"
    ):
        protocol_of(options("--scales", "224,99999999999"))
    with pytest.raises(argparse.ArgumentTypeError, match="Received: '224,a'"):
        scales("224,a")


def test_rows_are_named_by_their_keys():
    for name, row in PROTOCOLS.items():
        assert name_of(replace(row, source="another")) == name
