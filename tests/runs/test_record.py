"""The record of a run: complete, or not written; readable, or a clear error."""

import json

import pytest

from keras_resnet.runs import environment
from keras_resnet.runs.record import KEYS, read_record, summary, write_record
from keras_resnet.runs.tables import table

NAMED_IN_THE_CONTRACT = (
    "schema recipe overrides seed network parameters dataset classes preprocessing "
    "backend devices precision xla onednn versions hardware commit dirty steps "
    "wall_seconds phase_seconds images_per_second train validation test target deviations "
    "recipe_values network_values"
).split()


def metrics(top1_error):
    return {"top1_error": top1_error, "top5_error": 0.5, "loss": 0.3, "n": 2000}


def example(*, seed=0, top1_error=10.0, **changes):
    record = {
        "schema": 1,
        "recipe": "quickstart",
        "overrides": {},
        "seed": seed,
        "network": "resnet20",
        "parameters": 269722,
        "dataset": {
            "name": "fashion_mini",
            "version": "1.0",
            "sha256": "ab",
            "splits": {"train": 13500, "validation": 500, "test": 2000},
        },
        "classes": ["Käfer", "cat"],
        "preprocessing": {"channels": 1},
        "backend": "tensorflow",
        "devices": ["cpu:0"],
        "precision": "float32",
        "xla": False,
        "onednn": True,
        "versions": {"python": "3.11.7"},
        "hardware": {
            "cpu": "Some | CPU",
            "cores": 2,
            "memory_gib": 24.0,
            "accelerators": [],
        },
        "commit": None,
        "dirty": None,
        "steps": 1000,
        "wall_seconds": 125.2,
        "phase_seconds": {"data": 0.5, "updates": 110.25},
        "images_per_second": 1234.5,
        "train": None,
        "validation": metrics(9.0),
        "test": metrics(top1_error),
        "target": 11.0,
        "deviations": [],
        "recipe_values": {"batch_size": 64},
        "network_values": {},
    }
    return record | changes


def test_keys_are_those_that_others_rely_on():
    assert list(KEYS) == NAMED_IN_THE_CONTRACT


def test_earlier_records_tell_less(tmp_path):
    path = tmp_path / "record.json"
    added = ("onednn", "phase_seconds", "recipe_values", "network_values")
    record = {key: value for key, value in example().items() if key not in added}
    path.write_text(json.dumps(record))
    assert read_record(path) == record | dict.fromkeys(added, {}) | {"onednn": None}


def test_round_trip_in_the_order_of_the_keys(tmp_path):
    path = tmp_path / "record.json"
    record = example()
    write_record(dict(reversed(record.items())), path)
    assert read_record(path) == record
    assert list(json.loads(path.read_text(encoding="utf-8"))) == NAMED_IN_THE_CONTRACT
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


def test_a_path_that_is_no_utf8_is_kept(tmp_path):
    record = example(overrides={"data": "/photos/caf\udce9"})
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": None}, "seed=None"),
        ({"seed": True}, "seed=True"),
        ({"xla": 1}, "xla=1"),
        ({"wall_seconds": float("nan")}, "wall_seconds=nan"),
        ({"surprise": 1}, "surprise"),
        ({"schema": 2}, "schema=2"),
        ({"test": {"top1_error": 10.0}}, "top5_error"),
        ({"dataset": {"name": "cifar10"}}, "sha256"),
        ({"devices": [object()]}, "devices"),
    ],
)
def test_what_is_no_record_is_not_written(changes, message, tmp_path):
    path = tmp_path / "record.json"
    write_record(example(), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        write_record(example(**changes), path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


def test_a_missing_key_is_named(tmp_path):
    record = example()
    del record["hardware"]
    with pytest.raises(ValueError, match=r"missing=\['hardware'\]"):
        write_record(record, tmp_path / "record.json")


def test_the_environment_is_a_part_of_the_record(tmp_path):
    write_record(example(**environment.describe()), tmp_path / "record.json")


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="when it has finished"):
        read_record(tmp_path / "record.json")


def test_reading_a_truncated_record(tmp_path):
    path = tmp_path / "record.json"
    write_record(example(), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="cut short"):
        read_record(path)


def test_reading_another_schema(tmp_path):
    path = tmp_path / "record.json"
    path.write_text('{"schema": 7}')
    with pytest.raises(ValueError, match="schema 1"):
        read_record(path)


def test_table_has_one_row_per_recipe_with_mean_and_spread():
    runs = [
        example(seed=0, top1_error=10.0),
        example(seed=2, top1_error=11.0),
        example(seed=1, top1_error=12.0),
        example(recipe="another", overrides={"steps": 10}, target=None, steps=10),
    ]
    header, rule, another, quickstart = table(runs).splitlines()
    assert header.endswith("| images/s | backend | hardware |")
    assert header.count(" | ") == rule.count(" | ") == another.count(" | ") == 10
    assert quickstart == (
        "| quickstart | resnet20 | fashion_mini | 3 | 11.00 ± 1.00 | 11 | 1,000 "
        r"| 2 min 05 s | 1,234 | tensorflow | 2 cores, Some \| CPU |"
    )
    assert another.startswith("| another (steps=10) | resnet20 | fashion_mini | 1 ")
    assert "| 10.00 | – | 10 |" in another


def test_table_keeps_other_hardware_apart():
    gpus = example()["hardware"] | {"accelerators": ["H200", "H200"]}
    text = table([example(), example(hardware=gpus)])
    assert "| 2 × H200 |" in text
    assert len(text.splitlines()) == 4


def test_table_keeps_other_backends_apart():
    header, _, jax, tensorflow = table([example(), example(backend="jax")]).splitlines()
    assert "| jax |" in jax
    assert "| tensorflow |" in tensorflow


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "mixed_bfloat16"},
        {"xla": True},
        {"devices": ["cpu:0", "cpu:1"]},
        {"dataset": example()["dataset"] | {"sha256": "cd"}},
    ],
)
def test_table_keeps_other_circumstances_apart(change):
    text = table([example(), example(**change)])
    assert len(text.splitlines()) == 4


def test_table_keeps_runs_together_wherever_their_images_lay():
    places = ({"data": "/a/photos"}, {"data": "/b/photos"})
    text = table([example(seed=n, overrides=one) for n, one in enumerate(places)])
    assert len(text.splitlines()) == 3


def test_table_names_precision_and_xla():
    text = table([example(precision="mixed_bfloat16", xla=True)])
    assert "| tensorflow, mixed_bfloat16, XLA |" in text


def test_summary_of_a_run(tmp_path):
    (tmp_path / "model.keras").touch()
    (tmp_path / "settings.json").touch()  # Not for people.
    validation, test, _, line, *files = summary(example(), tmp_path).split("\n")[1:]
    assert validation.split() == [
        "validation",
        "9.00",
        "%",
        "0.50",
        "%",
        "0.3000",
        "2,000",
    ]
    assert test.startswith("test")
    assert line == "resnet20 on fashion_mini, 1,000 updates, 2 min 05 s, 1,234 images/s"
    assert files == [str(tmp_path / "model.keras")]


def test_table_refuses_one_seed_twice():
    with pytest.raises(ValueError, match=r"seeds=\[3, 3\]"):
        table([example(seed=3), example(seed=3)])


@pytest.mark.parametrize(
    "seconds, text",
    [
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (4913, "1 h 22 min"),
    ],
)
def test_duration_in_the_table(seconds, text):
    assert f"| {text} |" in table([example(wall_seconds=seconds)])
