"""README.md is current, and its commands are those that CI runs."""

import json
import re

import pytest

from benchmarks import catalogue, ledger_page, tables
from keras_resnet.config.architectures import ARCHITECTURES
from tests.conftest import REPOSITORY

README = REPOSITORY / "README.md"


@pytest.mark.parametrize("page", tables.pages())
def test_generated_pages_are_current(page):
    assert tables.pages()[page] == (REPOSITORY / page).read_text(), (
        "run `python -m benchmarks.tables`"
    )


def test_each_network_has_a_family_and_a_paper():
    assert sum(map(len, catalogue.families().values())) == len(ARCHITECTURES)
    without = [name for name in ARCHITECTURES if not catalogue.papers_of(name)]
    assert not without


def test_the_ledgers_curves_are_drawn():
    """One for each history, of finished runs and of unfinished ones, and no other."""
    found = [(row, ledger_page.folder_of(row)) for row in ledger_page.ROWS]
    expected = {
        ledger_page.picture(row, folder)
        for row, folder in found
        if folder is not None and ledger_page.history(row, folder).exists()
    }
    assert set((REPOSITORY / "docs" / "ledger").rglob("*.png")) == expected


@pytest.fixture
def ledgers_row(tmp_path, monkeypatch):
    """A row of the ledger, whose results lie in a temporary folder."""
    monkeypatch.setattr(ledger_page, "RESULTS", tmp_path)
    monkeypatch.setattr(ledger_page, "FINISHED", tmp_path / "ledger")
    monkeypatch.setattr(ledger_page, "UNFINISHED", tmp_path / "ledger" / "unfinished")
    ledger_page.UNFINISHED.mkdir(parents=True)
    [row] = (
        row for row in ledger_page.ROWS if row.name == "resnet110_cifar10_10000_seed0"
    )
    return row


def ledgers_line(row):
    return next(line for line in ledger_page.page().splitlines() if row.name in line)


def test_a_finished_run_of_the_ledger_is_a_line_of_its_page(ledgers_row):
    row = ledgers_row
    kept = {
        "test_error": 19.5,
        "date": "2026-12-01",
        "stretches": [{"seconds": 5_400.0}, {"seconds": 1_800.0}],
        "record": {"steps": 10_000, "deviations": ["One.", "Two."]},
    }
    (ledger_page.FINISHED / f"{row.name}.json").write_text(json.dumps(kept))
    line = ledgers_line(row)
    assert line.split(" | ")[1:4] == ["6.43 (after 64,000 updates)", "19.50", "10,000"]
    assert f"{row.compared_with}. One. Two." in line
    assert "2.0 h in 2 stretches" in line


def test_an_unfinished_run_of_the_ledger_says_how_far_it_came(
    ledgers_row, tmp_path, monkeypatch
):
    row = ledgers_row
    assert ledgers_line(row).endswith("| waiting |")
    kept = {
        "date": "2026-12-01",
        "stretches": [{"seconds": 5_400.0}, {"seconds": None}],
        "updates": 1_200,
        "of": 10_000,
    }
    (ledger_page.UNFINISHED / f"{row.name}.json").write_text(json.dumps(kept))
    cells = ledgers_line(row).strip("| ").split(" | ")
    assert cells[2:4] == ["–", "1,200 of 10,000"]
    assert cells[5] == "unfinished: 1.5 h in 2 stretches, 2026-12-01"
    history = "step,accuracy,loss,learning_rate\n400,0.3,1.9,0.1\n800,0.5,1.4,0.1\n"
    (ledger_page.UNFINISHED / f"{row.name}.csv").write_text(history)
    assert f"[curve](ledger/unfinished/{row.name}.png), 1.5 h" in ledgers_line(row)
    monkeypatch.setattr(ledger_page, "DOCS", tmp_path / "docs")
    ledger_page.draw()
    drawn = tmp_path / "docs" / "ledger" / "unfinished" / f"{row.name}.png"
    assert drawn.stat().st_size > 10_000
    # It finishes: one picture takes the other's place.
    for suffix in ("json", "csv"):
        name = f"{row.name}.{suffix}"
        (ledger_page.UNFINISHED / name).rename(ledger_page.FINISHED / name)
    ledger_page.draw()
    [finished] = (tmp_path / "docs").rglob("*.png")
    assert finished == tmp_path / "docs" / "ledger" / f"{row.name}.png"


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200


def test_first_commands_do_the_main_job_and_the_tests():
    blocks = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.M | re.S)
    assert blocks[0].strip() == (
        "python3 -m venv .venv && . .venv/bin/activate && pip install . && "
        "keras-resnet train"
    )
    assert blocks[1].strip() == ("pip install '.[test]' && pytest -n 2 --dist loadfile")


def test_saved_models_are_small_and_complete():
    folder = REPOSITORY / "saved_models"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4_000_000
    for record in folder.glob("*/record.json"):
        assert (record.parent / "model.keras").exists()
        assert (record.parent / "saved_model" / "1" / "saved_model.pb").exists()


def test_readme_links_lead_somewhere():
    """The site's own links are checked where it is built."""
    links = re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", README.read_text())
    assert links
    for path, fragment in links:
        target = REPOSITORY / path
        assert target.exists(), path
        if fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert fragment in map(catalogue.anchor, headings), f"{path}#{fragment}"
