"""Reports of runs: every number is that of its file, and whatever is text stays text."""

import html.parser
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from keras_resnet.__main__ import main
from keras_resnet.evaluation.calibration import fit_temperature
from keras_resnet.evaluation.statistics import by_class
from keras_resnet.files import read_json, write_json
from keras_resnet.report import results
from keras_resnet.report.facts import Facts, Pair, RunFacts
from keras_resnet.report.page import SIGN
from keras_resnet.runs import report_files, report_inputs, report_of_run
from keras_resnet.runs.analyses import ANALYSES
from keras_resnet.runs.predictions import read_predictions
from keras_resnet.runs.report import report
from keras_resnet.runs.report_images import PER_CELL, cells_to_show
from keras_resnet.runs.report_numbers import chosen, measured
from keras_resnet.training.history import read_history
from tests.helpers.made_run import ODD, SHA, add_analyses, made_run, write_history

# Nothing is read but what lies in the run's folder, and nothing is computed.
ASSEMBLED = {"images": False, "seconds": 0}


class Page(html.parser.HTMLParser):
    """What a browser reads of a page: elements, numbers, texts and embedded JSON."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.numbers, self.texts, self.embedded = [], [], [], {}
        self.captions, self.open = 0, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "data":
            self.numbers.append((attributes["data-from"], attributes["value"], data))
        elif tag == "script" and "id" in attributes:
            self.embedded[attributes["id"]] = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module", autouse=True)
def without_schedules():
    """Keras takes a fifth of a second for a schedule; the slow tests draw one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_files, "rates", lambda recipe: None)
        yield


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run with analyses, and the page of its report."""
    folder = made_run(tmp_path_factory.mktemp("runs") / "a & <b>")
    add_analyses(folder)
    return folder, Page(report(folder, **ASSEMBLED))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs that were measured on the same images."""
    root = tmp_path_factory.mktemp("runs")
    folders = [made_run(root / name, seed=i) for i, name in enumerate(("a", "b"))]
    return folders, Page(report(folders, root / "both.html", **ASSEMBLED))


def at(value, pointer):
    """What stands at a place in JSON."""
    for key in pointer.strip("/").split("/"):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


# --- Numbers -----------------------------------------------------------------------


def test_every_number_is_that_of_its_file(one, two):
    read = set()
    for folders, page in (([one[0]], one[1]), two):
        assert len(page.numbers) > 30
        for source, value, shown in page.numbers:
            place, pointer = source.split("#")
            run, _, file = place.partition("/")
            if not file.endswith(".json") or pointer.endswith("/median"):
                continue  # Of predictions: the next test.
            expected = at(read_json(folders[int(run)] / file), pointer)
            assert json.loads(value) == expected, source
            if ":" not in shown and "min" not in shown and " s" not in shown:
                digits = re.match(r"[-\d.,e]+", shown)[0].replace(",", "")
                decimals = len(digits.partition(".")[2])
                assert float(digits) == round(expected, decimals), source
            read.add(file)
    assert read == {"record.json", "evaluation.json", "analysis/lesions.json"}


def test_numbers_of_predictions_are_those_of_the_files(one):
    folder, page = one
    data = page.embedded["report-data"]["runs"][0]
    split = {
        path.name.split("_")[-3]: read_predictions(path)
        for path in (folder / "predictions").iterdir()
    }
    test, validation = split["test"], split["validation"]
    counts = np.zeros((len(ODD), len(ODD)), int)
    np.add.at(counts, (test.labels, test.probabilities.argmax(1)), 1)
    assert data["confusion"] == counts.tolist()
    cells = {one["data-cell"] for one in page.all("button") if "data-cell" in one}
    assert cells == {f"{i},{j}" for i, j in zip(*np.nonzero(counts), strict=True)}
    temperature = fit_temperature(validation.probabilities, validation.labels)
    assert data["temperature"] == temperature
    assert data["reliability"]["ece"] == data["results"][0]["ece"]
    numbers = {source: json.loads(value) for source, value, _ in page.numbers}
    assert numbers["0/predictions#/temperature"] == temperature
    assert numbers["0/predictions#/fitted_on"] == len(validation.labels)
    for k, row in enumerate(by_class(counts)):
        for key in ("precision", "recall", "f1", "support"):
            if getattr(row, key) is not None:
                assert numbers[f"0/classes#/{k}/{key}"] == getattr(row, key)
    sure = {
        int(source.split("/")[2]): value
        for source, value in numbers.items()
        if source.endswith("/confidence")
    }
    wrong = test.probabilities.argmax(1) != test.labels
    highest = np.sort(test.probabilities.max(1)[wrong])[::-1][: len(sure)]
    assert sorted(sure.values(), reverse=True) == pytest.approx(100 * highest)
    assert all(wrong[position] for position in sure)


def test_what_is_drawn_is_what_the_files_hold(one):
    folder, page = one
    data = page.embedded["report-data"]["runs"][0]
    assert data["history"] == read_history(folder / "history.csv")
    assert data["results"] == read_json(folder / "evaluation.json")["results"]
    analyses = folder / "analysis"
    assert data["lesions"] == read_json(analyses / "lesions.json")["results"]
    (surface,) = data["surfaces"]
    found = read_json(analyses / "landscape.json")["results"]["networks"][folder.name]
    assert surface["loss"] == found["loss"] and surface["x"] == found["x"]
    # The first point of the training loss, 2 of 2.2 at most, and of 30 updates 10.
    lines = [one["points"] for one in page.all("polyline")]
    x, y = map(float, lines[0].split()[0].split(","))
    assert (x, y) == pytest.approx((46 + 304 / 3, 10 + 182 * (1 - 2 / 2.5)), abs=0.06)
    heights = [float(o["height"]) for o in page.all("rect") if o["class"] == "bar c0"]
    assert heights[-2] / heights[-1] == pytest.approx(31.25 / 52.5, rel=0.01)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0.5, "is lower than that."),
        (99.5, "is higher than that."),
        (None, "within it."),
    ],
)
def test_a_target_is_beside_the_result_with_where_it_is_from(error, said):
    target = {"error": error, "protocol": "single_crop", "where": "table <6>"}
    low, high = result("test")["top1_interval"]
    target["error"] = (low + high) / 2 if error is None else error
    record = {"network": "resnet20", "dataset": {"name": "photos", "sha256": SHA}}
    run = RunFacts(
        name="run",
        record=record,
        classes=["a", "b"],
        target=target,
        results=[result("test")],
        measured=SimpleNamespace(result=result("test")),
    )
    facts = Facts(runs=[run], pairs=[], made_by="", made_on="")
    assert said in results.headline(facts)
    assert f'<data value="{target["error"]}"' in results.headline(facts)
    assert "table &lt;6&gt;" in results.results(facts)
    # An error by another protocol isn't compared with it.
    run.target["protocol"] = "he2015_10crop"
    assert "target" not in results.headline(facts)


def test_two_runs_are_tested_against_each_other(two):
    folders, page = two
    right = [
        read_predictions(next((folder / "predictions").glob("*_test_*"))).correct
        for folder in folders
    ]
    (pair,) = page.embedded["report-data"]["pairs"]
    alone = np.sum(right[0] & ~right[1]), np.sum(right[1] & ~right[0])
    assert (pair["first_alone"], pair["second_alone"]) == alone
    assert 0.05 < pair["p_value"] < 1
    assert "is within noise" in page.texts
    (p_value,) = (v for source, v, _ in page.numbers if source.endswith("p_value"))
    assert json.loads(p_value) == pair["p_value"]
    # Their seeds are all that differs.
    text = " ".join(page.texts)
    assert "What the runs differ in" in text and "seed 0 1" in " ".join(text.split())


def test_of_several_tests_each_must_show_more():
    """As `keras-resnet compare` says of the same runs."""
    runs = [RunFacts(name=name, record={}, classes=[]) for name in "abc"]
    test = {"first_alone": 9, "second_alone": 2, "p_value": 0.03}
    pairs = [Pair(first=0, second=other, test=test) for other in (1, 2)]
    for count, said in ((1, "is more than noise"), (2, "is within noise")):
        facts = Facts(runs=runs, pairs=pairs[:count], made_by="", made_on="")
        shown = results.comparison(facts)
        assert shown.count(said) == count
        assert ("where p is below 0.025" in shown) == (count == 2)


def test_runs_of_other_images_are_not_tested(tmp_path):
    folders = [made_run(tmp_path / "a"), made_run(tmp_path / "b", n=45)]
    page = Page(report(folders, tmp_path / "x.html", **ASSEMBLED))
    assert page.embedded["report-data"]["pairs"] == []
    assert any("No two runs have predictions" in text for text in page.texts)


def test_nan_is_a_gap_and_a_dash(tmp_path):
    folder = made_run(tmp_path / "run")
    write_history(folder, last_loss=float("nan"))
    page = Page(report(folder, **ASSEMBLED))
    assert page.embedded["report-data"]["runs"][0]["history"][2]["loss"] is None
    assert len(page.all("polyline")[0]["points"].split()) == 2
    assert "nan" not in " ".join(page.texts).lower().split()


# --- The page ----------------------------------------------------------------------


def test_names_of_all_kinds_stay_names(one):
    folder, page = one
    scripts = page.all("script")
    assert [s.get("id") for s in scripts] == ["report-data", "report-images", None]
    assert not [one for one in page.all("b") + page.all("i")]
    assert {*ODD, folder.name, "<i>photos</i>"} <= set(page.texts)
    assert "Kernels begin <u>otherwise</u>." in page.texts
    assert "data=/home/<b>/photos" in page.texts
    assert page.embedded["report-data"]["runs"][0]["classes"] == list(ODD)
    cells = page.embedded["report-images"][0]
    assert any(row[0].startswith("<b>") for cell in cells.values() for row in cell)
    isolated = [one for one, _ in page.elements].count("bdi")
    assert isolated > 2 * len(ODD)


def test_headings_tables_and_pictures_can_be_followed_without_seeing(one, two):
    for page in (one[1], two[1]):
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert max(np.diff(levels)) <= 1
        assert len(page.all("table")) == len(page.all("caption")) > 3
        assert all(one["alt"] for one in page.all("img"))
        drawings = page.all("svg") + page.all("canvas")
        assert drawings
        assert all(one["role"] == "img" and one["aria-label"] for one in drawings)


def test_the_page_asks_for_nothing_from_elsewhere(one, two):
    for page in (one[1], two[1]):
        for _, attributes in page.elements:
            for name in ("src", "href", "action"):
                assert re.match(r"data:|#", attributes.get(name, "#"))
        policy = [one for one in page.all("meta") if "http-equiv" in one]
        assert policy[0]["content"].startswith("default-src 'none'")


# --- What is missing, damaged or in the way ----------------------------------------


def test_what_is_missing_is_named_with_its_command(tmp_path):
    folder = made_run(tmp_path / "not measured", measured=())
    page = Page(report(folder, **ASSEMBLED))
    commands = [text for text in page.texts if text.startswith("keras-resnet ")]
    first, lesions, landscape, others = commands
    assert first == f"keras-resnet evaluate '{folder}'"
    assert lesions == f"keras-resnet analyze '{folder}' lesions"
    assert landscape == f"keras-resnet analyze '{folder}' landscape"
    assert others.splitlines() == [
        f"keras-resnet analyze '{folder}' {name}"
        for name in ANALYSES
        if name not in ("lesions", "landscape")
    ]
    # The record's own results are there.
    assert ("0/record.json#/test/top1_error", "10.35", "10.35\xa0%") in page.numbers


def test_a_converted_network_has_a_report(tmp_path):
    source = {"network": "resnet18", "source": "timm:<a1>", "classes": ["a", "b"]}
    record = read_json(made_run(tmp_path / "made") / "record.json")
    folder = tmp_path / "converted"
    folder.mkdir()
    source["preprocessing"] = record["preprocessing"]
    write_json(folder / "source.json", source)
    page = Page(report(folder, **ASSEMBLED))
    assert "timm:<a1>" in page.texts
    commands = [text for text in page.texts if text.startswith("keras-resnet ")]
    lines = "\n".join(commands).splitlines()
    assert len(lines) == 1 + len(ANALYSES)
    assert all(line.endswith(" --data FOLDER") for line in lines)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a finished run"):
        report(tmp_path, **ASSEMBLED)
    with pytest.raises(ValueError, match="given once"):
        report([made_run(tmp_path / "run")] * 2, tmp_path / "x.html", **ASSEMBLED)
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize("data", ["cifar10", None])
def test_nothing_is_downloaded(tmp_path, monkeypatch, data):
    run = SimpleNamespace(folder=tmp_path, record={})
    monkeypatch.setattr(report_inputs, "load", lambda folder: run)
    monkeypatch.setattr(report_inputs, "own_data", lambda run: "cifar10")
    with pytest.raises(FileNotFoundError, match="downloads nothing, and cifar10 isn't"):
        report_inputs.opened(tmp_path, data, tmp_path, None, seconds=0)
    assert not list(tmp_path.iterdir())


def test_other_images_that_are_not_there_are_an_error_and_own_ones_are_not(
    tmp_path, monkeypatch
):
    """A report of `--data` must not show what was measured on the run's own images."""

    def opened(folder, data, data_dir, split, *, seconds):
        raise FileNotFoundError(f"{data} isn't there.")

    monkeypatch.setattr(report_of_run, "opened", opened)
    folder = made_run(tmp_path / "run")
    for how in (ASSEMBLED, {"seconds": 0}, {"images": False}):
        with pytest.raises(FileNotFoundError, match="nowhere isn't there"):
            report(folder, data="nowhere", **how)
    assert not list(tmp_path.rglob("*.html"))
    page = Page(report(folder, seconds=0))
    assert any("None isn't there" in text for text in page.texts)


@pytest.mark.parametrize(
    ("file", "contents"),
    [
        ("record.json", "{"),
        ("evaluation.json", '{"results": [{"data": 1}]}'),
        ("history.csv", "step,loss\n1,two\n"),
        ("analysis/lesions.json", '{"analysis": "lesions", "results": {}}'),
    ],
)
def test_a_damaged_file_is_named(file, contents, tmp_path):
    folder = made_run(tmp_path / "run")
    add_analyses(folder)
    path = folder / file
    path.write_text(contents)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        report(folder, **ASSEMBLED)
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize(
    ("file", "place", "value"),
    [
        ("evaluation.json", "results/0/n", None),
        ("evaluation.json", "results/1/top1_error", "<b>"),
        ("analysis/lesions.json", "results/each/stages", []),
        ("analysis/landscape.json", "results/networks/run/loss", []),
    ],
)
def test_a_file_that_was_changed_is_named(file, place, value, tmp_path):
    folder = made_run(tmp_path / "run")
    add_analyses(folder)
    found = read_json(folder / file)
    *path, last = place.split("/")
    inside = at(found, "/".join(path))
    inside[last] = value
    write_json(folder / file, found)
    with pytest.raises(ValueError, match=re.escape(str(folder / file))):
        report(folder, **ASSEMBLED)


def test_earlier_records_and_odd_seeds(tmp_path):
    """Records without what was left out have a report; what is text stays text."""
    folder = made_run(tmp_path / "run")
    add_analyses(folder)
    record = read_json(folder / "record.json")
    del record["dataset"]["skipped"]
    write_json(folder / "record.json", record)
    lesions = read_json(folder / "analysis" / "lesions.json")
    write_json(folder / "analysis" / "lesions.json", lesions | {"seed": "<script>"})
    page = Page(report(folder, **ASSEMBLED))
    assert len(page.all("script")) == 3
    assert any("seed <script>" in text for text in page.texts)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (None, "can't be read"),
        ({"n": 41}, "for the 41 images of the result"),
        ({"predictions_sha256": "f" * 64}, "is of another measurement"),
    ],
)
def test_predictions_that_are_not_those_of_the_result_are_left_out(
    tmp_path, changed, said
):
    folder = made_run(tmp_path / "run", measured=("test",))
    path = next((folder / "predictions").glob("*_test_*"))
    if changed is None:
        path.write_text("not a zip file")
    else:
        found = read_json(folder / "evaluation.json")
        found["results"][0] |= changed
        write_json(folder / "evaluation.json", found)
    page = Page(report(folder, **ASSEMBLED))
    assert any(str(path) in text and said in text for text in page.texts)
    assert f"keras-resnet evaluate {folder}" in page.texts
    assert not any(kind == {"class": "matrix"} for kind in page.all("table"))
    # What was measured stays.
    result = read_json(folder / "evaluation.json")["results"][0]
    assert str(result["top1_error"]) in [value for _, value, _ in page.numbers]


def test_only_a_report_is_replaced(tmp_path, monkeypatch):
    folder = made_run(tmp_path / "run")
    other = tmp_path / "thesis.html"
    other.write_text("<html>my own</html>")
    with monkeypatch.context() as patched:
        # Refused before anything is computed.
        patched.setattr("keras_resnet.runs.report.facts_of", None)
        with pytest.raises(FileExistsError, match="or be a report"):
            report(folder, other)
        with pytest.raises(FileExistsError, match="a folder"):
            (tmp_path / "folder.html").mkdir()
            report(folder, tmp_path / "folder.html")
        with pytest.raises(ValueError, match="must be 0 or more"):
            report(folder, seconds=float("nan"))
        with pytest.raises(ValueError, match=r"end in \.html"):
            report(folder, folder / "record.json", overwrite=True)
    assert other.read_text() == "<html>my own</html>"
    report(folder, other, overwrite=True, **ASSEMBLED)
    assert SIGN in other.read_text()
    report(folder, other, **ASSEMBLED)


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    folder = made_run(tmp_path / "run")
    assert main(["report", str(folder), "--no-images", "--seconds", "0"]) == 0
    size = (folder / "report.html").stat().st_size / 1e6
    assert capsys.readouterr().out == f"{folder / 'report.html'}: {size:.2f} MB\n"


# --- Which results and images are shown --------------------------------------------


def result(split, protocol="single_crop", sha256=SHA):
    numbers = {"n": 200, "top1_error": 10.0, "top1_interval": [8.0, 12.5], "loss": 0.5}
    return {
        "data": "photos", "split": split, "protocol": protocol, "sha256": sha256,
        "top5_error": None, "ece": 0.01, **numbers,
    }  # fmt: skip


def test_the_result_that_is_shown():
    validation, crops, single = (
        result("validation"),
        result("test", "x"),
        result("test"),
    )
    elsewhere = result("test", sha256="f" * 64)
    assert chosen([validation, crops], SHA, None) is crops
    assert chosen([single, validation, crops], SHA, None) is single
    assert chosen([validation, elsewhere], SHA, None) is validation
    assert chosen([elsewhere], SHA, None) is None
    assert chosen([elsewhere], None, None) is elsewhere
    assert chosen([single, validation], SHA, "validation") is validation


def test_each_cell_shows_its_most_confident_images_and_gets_one_before_any_gets_two(
    tmp_path,
):
    folder = made_run(tmp_path / "run", n=400)
    path = next((folder / "predictions").glob("*_test_*"))
    found = measured(result("test"), read_predictions(path), None)
    cells = cells_to_show(found, 1000)
    for (true, predicted), positions in cells.items():
        here = (found.labels == true) & (found.predicted == predicted)
        assert all(here[positions])
        assert len(positions) == min(PER_CELL, here.sum())
        best = np.sort(found.confidence[here])[::-1][: len(positions)]
        assert found.confidence[positions].tolist() == best.tolist()
    few = cells_to_show(found, len(cells) + 3)
    assert few.keys() == cells.keys()
    assert sorted(map(len, few.values()))[-1] == 2
    assert sum(map(len, few.values())) == len(cells) + 3
