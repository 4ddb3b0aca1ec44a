"""Reports as a browser shows them, and with the images of a network's data."""

import shutil

import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet.files import read_json
from keras_resnet.runs import report_of_run
from keras_resnet.runs.report import report
from tests.conftest import REPOSITORY
from tests.helpers.browser import ask
from tests.helpers.made_run import add_analyses, lesions, made_run
from tests.runs.test_report import ASSEMBLED, Page

pytestmark = pytest.mark.slow

STATE = """
  const root = document.documentElement;
  const images = [...document.images];
  const cell = document.querySelector("table.matrix button");
  cell.click();
  const dialog = document.getElementById("cell");
  await new Promise((done) => setTimeout(done, 200));
  const opened = { open: dialog.open, title: dialog.querySelector("p").textContent,
    items: dialog.querySelectorAll("li").length,
    pictures: [...dialog.querySelectorAll("img")].map((i) => [i.naturalWidth, i.alt]) };
  dialog.close();
  const canvas = document.querySelector("canvas.surface");
  const drawn = () => canvas && canvas.toDataURL();
  const before = drawn();
  if (canvas) {
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
    await new Promise((done) => setTimeout(done, 200));
  }
  const table = document.querySelector("table.matrix");
  cell.focus();
  cell.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
  const boxes = [...document.querySelectorAll("main *, header *")].filter(
    (one) => !one.closest(".scroll, pre")
      && one.getBoundingClientRect().right > innerWidth + 1);
  return { width: innerWidth, scroll: root.scrollWidth, opened,
    broken: images.filter((i) => i.complete && !i.naturalWidth && i.src).length,
    unnamed: images.filter((i) => !i.alt).length, pictures: images.length,
    turned: canvas ? before !== drawn() : null,
    moved: document.activeElement !== cell && table.contains(document.activeElement),
    wide: boxes.map((one) => one.tagName + "." + one.className) };
"""


@pytest.fixture(scope="module")
def assembled(tmp_path_factory):
    """The report of a run with odd names, without images."""
    folder = made_run(tmp_path_factory.mktemp("runs") / "a <run>")
    add_analyses(folder)
    return report(folder, **ASSEMBLED)


@pytest.mark.parametrize("width", [360, 1280])
def test_it_works_at_every_width_without_a_complaint(assembled, width, tmp_path):
    found = ask(assembled, tmp_path, STATE, width=width)
    assert found["complaints"] == []
    assert found["width"] == width
    assert found["scroll"] <= width and found["wide"] == []
    assert found["turned"] and found["moved"]
    opened = found["opened"]
    assert opened["open"] and opened["items"] > 0
    assert opened["title"].startswith("<script>alert(1)</script>, predicted rightly: ")


def test_several_runs_fit_a_phone(tmp_path):
    folders = [made_run(tmp_path / name, seed=i) for i, name in enumerate("abc")]
    page = report(folders, tmp_path / "all.html", **ASSEMBLED)
    found = ask(page, tmp_path, STATE, width=360)
    assert (found["complaints"], found["wide"]) == ([], [])
    assert found["scroll"] <= found["width"] == 360


def test_a_run_that_was_never_measured_is_measured_and_shows_its_images(
    tmp_path, monkeypatch
):
    analyzed = []

    def analyze(run, name, options):
        analyzed.append((run.folder.name, name))
        return lesions(run.folder.name)

    # Its own tests are elsewhere; it takes half a minute.
    monkeypatch.setattr(report_of_run, "analyze", analyze)
    folder = tmp_path / "quickstart_seed0"
    shutil.copytree(REPOSITORY / "saved_models" / "quickstart_seed0", folder)
    said = []
    path = report(folder, seconds=600, progress=said.append)
    assert any("Measuring" in one for one in said)
    record = read_json(folder / "record.json")
    (results,) = read_json(folder / "evaluation.json").values()
    found = {one["split"]: one for one in results}
    assert found["test"]["top1_error"] == record["test"]["top1_error"]
    assert analyzed == [("quickstart_seed0", "lesions")]
    page = Page(path)
    assert (
        page.embedded["report-data"]["runs"][0]["lesions"]["each"]["error"][0] == 31.25
    )
    # The learning rate is drawn from its schedule, not from seven rows of the history.
    assert max(len(one["points"].split()) for one in page.all("polyline")) >= 100
    assert len(page.all("img")) == 24 and path.stat().st_size < 3e6
    assert all(one["src"].startswith("data:image/png") for one in page.all("img"))
    (cells,) = page.embedded["report-images"]
    assert all(len(row) == 5 for cell in cells.values() for row in cell)
    counts = np.array(page.embedded["report-data"]["runs"][0]["confusion"])
    assert len(cells) == np.count_nonzero(counts)
    state = ask(path, tmp_path, STATE, width=360)
    assert state["complaints"] == [] and state["broken"] == state["unnamed"] == 0
    assert state["pictures"] == 24
    width, alternative = state["opened"]["pictures"][0]
    assert width == 28 and alternative.endswith(", of the class T-shirt/top")


def test_images_that_are_gone_are_left_out_and_named(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(REPOSITORY / "saved_models" / "quickstart_seed0", folder)
    record = (folder / "record.json").read_text()
    gone = record.replace('"overrides": {}', '"overrides": {"data": "/nowhere/photos"}')
    (folder / "record.json").write_text(gone)
    page = Page(report(folder))
    assert page.all("img") == []
    assert any("/nowhere/photos must hold the images" in text for text in page.texts)


@pytest.mark.exhaustive
def test_ten_thousand_images_of_a_hundred_classes_stay_small(tmp_path):
    """From stored predictions, with small pictures of the images: at most 20 MB."""
    random = np.random.default_rng(0)
    colors = random.integers(0, 256, (100, 1, 1, 3))
    for part, count in (("train", 2), ("test", 100)):
        for number, color in enumerate(colors):
            folder = tmp_path / "data" / part / f"class{number:02}"
            folder.mkdir(parents=True)
            noise = random.integers(-60, 61, (count, 32, 32, 3))
            for place, one in enumerate(np.clip(color + noise, 0, 255)):
                picture = Image.fromarray(one.astype("uint8"))
                picture.save(folder / f"{place:03}.jpg", quality=90)
    run = keras_resnet.train(
        data=tmp_path / "data",
        network="resnet20",
        size=32,
        steps=2,
        output_dir=tmp_path / "runs",
        verbose=0,
    )
    keras_resnet.load(run).evaluate()
    page = report(run, data=tmp_path / "data")
    assert page.stat().st_size <= 20 * 10**6
    text = page.read_text(encoding="utf-8")
    assert 1_000 < text.count("data:image/") < 3_200
    assert "10,000" in text and "class99" in text
    for width in (360, 1280):
        state = ask(page, tmp_path, STATE, width=width)
        assert (state["complaints"], state["wide"]) == ([], [])
        assert state["scroll"] <= width
        assert state["broken"] == state["unnamed"] == 0 and state["moved"]
        opened = state["opened"]
        assert opened["open"] and opened["items"] == len(opened["pictures"]) > 0
        assert all(pixels and named for pixels, named in opened["pictures"])
