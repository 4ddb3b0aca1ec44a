"""Workers compare what they were told to train, and hear why another one can't."""

import concurrent.futures
import time

import pytest

from keras_resnet.devices import agreement, links, meeting
from keras_resnet.devices.cluster import Workers, find_workers
from tests.helpers.environments import SLURM
from tests.helpers.worker_processes import free_ports


def met(count):
    """The connections of workers that have met in threads of this process."""
    port = free_ports()[0]
    addresses = (f"127.0.0.1:{port}",)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        found = [
            pool.submit(meeting.meet, Workers(addresses, count, index), 30)
            for index in range(count)
        ]
        return [one.result() for one in found]


@pytest.fixture
def three():
    found = met(3)
    yield found
    for one in found:
        one.close()


def together(functions):
    """What functions return or raise that wait for each other."""
    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        started = [pool.submit(function) for function in functions]
        return [one.exception(30) or one.result() for one in started]


def test_each_worker_hears_what_all_say(three):
    long = "x" * 500_000  # The names of many classes.
    for said in (["a", "b", "c"], [long, 0.1, {"classes": [None, True]}]):
        found = together(
            [
                lambda w=w, one=one: w.exchange(one)
                for w, one in zip(three, said, strict=True)
            ]
        )
        assert found == [said] * 3


@pytest.mark.parametrize("failing", [0, 2])
def test_one_that_cannot_begin_tells_the_others_why_at_once(three, failing):
    others = [one for number, one in enumerate(three) if number != failing]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        # Worker 1 comes later: whoever waits already isn't kept until then.
        waiting = pool.submit(others[0].exchange, "ready")
        if failing:
            time.sleep(0.1)
        three[failing].fail("no such folder", True)
        three[failing].close()
        late = others[1:]
        heard = [waiting.exception(10)]
    heard += together([lambda: late[0].exchange("ready")])
    for error in heard:
        assert isinstance(error, links.WorkerFailed)
        assert (error.worker, error.message) == (failing, "no such folder")
        assert error.by_input


def test_one_that_ended_without_a_word_is_lost(three):
    three[2].close()
    with pytest.raises(links.WorkerLost, match="Worker 2 has ended before training"):
        three[0].exchange("ready")
    three[0].close()
    with pytest.raises(links.WorkerLost, match="Worker 0 has ended before training"):
        three[1].exchange("ready")


def test_workers_that_are_told_of_other_numbers_end_at_once():
    addresses = (f"127.0.0.1:{free_ports()[0]}",)
    told = [Workers(addresses, 2, 0), Workers(addresses, 3, 1)]
    found = together([lambda one=one: meeting.meet(one, 30) for one in told])
    for error in found:
        assert isinstance(error, ValueError)
        assert "number of workers: worker 0 has 2, worker 1 has 3" in str(error)


# --- What differs, in words ---------------------------------------------------------


def test_what_differs_is_named_with_each_workers_value():
    found = agreement.differences(
        [
            {"seed": 0, "learning_rate": 0.1, "classes": ["cat"]},
            {"seed": 0, "learning_rate": 0.05, "classes": ["cat"]},
            {"seed": 0, "learning_rate": 0.1, "classes": ["cat", "dog"]},
        ]
    )
    assert found == [
        "learning_rate: workers 0 and 2 have 0.1, worker 1 has 0.05",
        "classes[1]: workers 0 and 1 have None, worker 2 has 'dog'",
    ]


def as_others_say(monkeypatch, *others, advice=""):
    """Has this process be worker 0 of several, the others saying this."""

    class Said(links.Links):
        closed = False

        def exchange(self, value):
            return [value, *others]

        def close(self):
            Said.closed = True

    monkeypatch.setattr(agreement, "_links", Said(0, {}))
    monkeypatch.setattr(agreement, "_advice", advice)
    return Said


def test_equal_workers_go_on_and_others_do_not(monkeypatch):
    as_others_say(monkeypatch, {"learning_rate": 0.05, "schedule": {"at": [9]}})
    agreement.must_agree({"learning_rate": 0.05, "schedule": {"at": (9,)}})
    with pytest.raises(ValueError) as raised:
        agreement.must_agree({"learning_rate": 0.1, "schedule": {"at": (9,)}})
    assert "learning_rate: worker 0 has 0.1, worker 1 has 0.05." in str(raised.value)
    assert "schedule" not in str(raised.value)


def test_who_does_not_see_the_chiefs_folder_is_named(monkeypatch):
    as_others_say(monkeypatch, ["/a/runs", True], ["/b/runs", False])
    message = "the chief writes in /a/runs, .* where worker 2 looks in /b/runs."
    with pytest.raises(ValueError, match=message):
        agreement.must_see("/a/runs", True)
    as_others_say(monkeypatch, ["/other/name/of/it", True])
    agreement.must_see("/a/runs", True)


def test_a_message_names_some_of_many_differences(monkeypatch):
    as_others_say(monkeypatch, {"classes": ["b"] * 9})
    with pytest.raises(ValueError, match=r"classes\[4\].*'b'; and 4 more\.$"):
        agreement.must_agree({"classes": ["a"] * 9})
    as_others_say(monkeypatch, {"mean": "b"})
    with pytest.raises(ValueError) as raised:
        agreement.must_agree({"mean": "a" * 10_000})
    assert len(str(raised.value)) < 500


def test_tasks_of_slurm_are_told_how_to_train_each_alone(monkeypatch):
    as_others_say(monkeypatch, {"seed": 1}, advice=find_workers(SLURM).advice)
    with pytest.raises(ValueError, match="seed: worker 0 has 0.*SLURM .* together.*"):
        agreement.must_agree({"seed": 0})
    as_others_say(monkeypatch, ["/b/runs", False], advice=find_workers(SLURM).advice)
    with pytest.raises(ValueError, match=r"KERAS_RESNET_WORKERS=localhost:1"):
        agreement.must_see("/a/runs", True)
    assert find_workers(SLURM | {"KERAS_RESNET_WORKERS": "localhost:1"}) == Workers()


@pytest.mark.parametrize(
    ("error", "by_input"),
    [
        (ValueError("no"), True),
        (FileNotFoundError("no"), True),
        (RuntimeError("no"), False),
    ],
)
def test_errors_of_this_worker_are_told(monkeypatch, error, by_input):
    said = as_others_say(monkeypatch)
    told = []
    monkeypatch.setattr(
        said, "fail", lambda self, *args: told.append(args), raising=False
    )
    with pytest.raises(type(error)), agreement.failures_told():
        raise error
    assert told == [("no", by_input)]
    assert said.closed and agreement.gathered(7) == [7]


@pytest.mark.parametrize(
    ("by_input", "kind"), [(True, ValueError), (False, RuntimeError)]
)
def test_errors_of_others_are_raised_here(monkeypatch, by_input, kind):
    said = as_others_say(monkeypatch)

    def fail(self, value):
        raise links.WorkerFailed(1, "no such folder", by_input)

    monkeypatch.setattr(said, "exchange", fail)
    with pytest.raises(kind, match="Worker 1 can't begin: no such folder"):
        agreement.gathered(0)
