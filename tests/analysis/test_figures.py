"""Text in figures: as it is, in glyphs that some font here has."""

import pytest

from keras_resnet.analysis import figures

matplotlib = pytest.importorskip("matplotlib")


def readable(text):
    with figures.plain_text([text]) as function:
        return function(text)


@pytest.mark.parametrize(
    "text", ["$5_to_$10", "a_b^c", "100 %", "\\frac{1}{2}", "Кошка", "Käfer", "γάτα"]
)
def test_what_matplotlibs_font_has_stays(text):
    assert readable(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ud55c\uae00", "hangeul"),
        ("a\u0308", "ä"),
        ("a\tb\nc", "a b c"),
        ("\U0001d400", "A"),
        ("a\U000e0061b", "ab"),
        ("\udcff", "U+DCFF"),
        ("\u732b", "U+732B"),
    ],
)
def test_other_letters_are_written_in_latin(text, expected, monkeypatch):
    monkeypatch.setattr(figures, "_fonts_for", lambda wanted: (figures.FONT,))
    shown = readable(text)
    assert shown == expected
    assert set(shown) <= figures._characters(figures.FONT) | {" "}


def test_markup_is_off_within_the_block_alone():
    before = dict(matplotlib.rcParams)
    with figures.plain_text(["$x$"]):
        assert matplotlib.rcParams["text.parse_math"] is False
        assert matplotlib.rcParams["text.usetex"] is False
    assert dict(matplotlib.rcParams) == before


@pytest.fixture
def cats(tmp_path, monkeypatch):
    """A font of one letter, among those of this machine."""
    builder = pytest.importorskip("fontTools.fontBuilder")
    pens = pytest.importorskip("fontTools.pens.ttGlyphPen")
    from matplotlib import font_manager

    pen = pens.TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (500, 700), (500, 0)):
        pen.lineTo(point)
    pen.closePath()
    glyph = pen.glyph()
    font = builder.FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "cat"])
    font.setupCharacterMap({0x732B: "cat"})
    font.setupGlyf({".notdef": glyph, "cat": glyph})
    font.setupHorizontalMetrics({".notdef": (600, 0), "cat": (600, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Cats of a Test", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    font.setupPost()
    font.save(tmp_path / "cats.ttf")
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(tmp_path / "cats.ttf")
    for cached in (figures._fonts_for, figures._upright, figures._characters):
        cached.cache_clear()
    yield
    for cached in (figures._fonts_for, figures._upright, figures._characters):
        cached.cache_clear()
    manager._findfont_cached.cache_clear()


def test_a_font_that_has_a_letter_shows_it(cats, tmp_path, caplog, recwarn):
    with figures.plain_text(["\u732b!"]) as function:
        fonts = matplotlib.rcParams["font.family"]
        assert fonts[0] == figures.FONT
        assert len(fonts) == 2
        assert function("\u732b!") == "\u732b!"
        figure = figures.new_figure((1, 1))
        figure.suptitle(function("\u732b!"), fontweight="bold")
        figures.save(figure, tmp_path / "cat.png")
    assert not caplog.records
    assert not [w for w in recwarn if "lyph" in str(w.message)]
