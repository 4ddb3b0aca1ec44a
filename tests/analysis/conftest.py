"""What the tests of figures share."""

import pytest

from keras_resnet.analysis import figures


@pytest.fixture
def drawn(monkeypatch):
    """Collects the figures that are written, to look into them."""
    written = []
    save = figures.save

    def collect(figure, path):
        written.append(figure)
        return save(figure, path)

    monkeypatch.setattr(figures, "save", collect)
    return written
