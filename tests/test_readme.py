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
    finished = [path.stem for path in (ledger_page.RESULTS / "ledger").glob("*.json")]
    drawn = {path.stem for path in (REPOSITORY / "docs" / "ledger").glob("*.png")}
    assert set(finished) <= drawn


def test_a_finished_run_of_the_ledger_is_a_line_of_its_page(tmp_path, monkeypatch):
    row = next(
        row for row in ledger_page.ROWS if row.name == "resnet110_cifar10_10000_seed0"
    )
    kept = {
        "test_error": 19.5,
        "date": "2026-12-01",
        "stretches": [{"seconds": 5_400.0}, {"seconds": 1_800.0}],
        "record": {"steps": 10_000, "deviations": ["One.", "Two."]},
    }
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / f"{row.name}.json").write_text(json.dumps(kept))
    monkeypatch.setattr(ledger_page, "RESULTS", tmp_path)
    line = next(line for line in ledger_page.page().splitlines() if row.name in line)
    assert line.split(" | ")[1:4] == ["6.43 (after 64,000 updates)", "19.50", "10,000"]
    assert f"{row.compared_with}. One. Two." in line
    assert "2.0 h in 2 stretches" in line


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
