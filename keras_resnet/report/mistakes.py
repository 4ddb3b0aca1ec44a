"""What a run's predictions say: confusion matrix, classes, worst images, calibration."""

from __future__ import annotations

import numpy as np

from keras_resnet.report import charts
from keras_resnet.report.facts import Measured, Picture, RunFacts
from keras_resnet.report.markup import (
    count,
    details,
    name,
    number,
    percent,
    table,
    text,
)
from keras_resnet.report.results import place

MOST_IN_MATRIX = 100  # Classes.
MOST_WITH_NUMBERS = 25  # Classes of a matrix whose cells have room for numbers.
MOST_OF_SMALL = 60  # Classes of a matrix whose cells needn't be even smaller.
SHOWN_OF_MANY = 40  # Classes of a matrix, where there are too many.
PAIRS = 12
ABOUT_MATRIX = (
    "Cells are darker for a larger share of their row. Choose one to see its images; arrow "
    "keys go from cell to cell."
)
ABOUT_MAPS = (
    "Beside each image is its class activation map (Grad-CAM): what speaks for the class "
    "that it is taken for. Each map has its own scale, from dark, nothing, to bright."
)
ABOUT_CALIBRATION = (
    "The expected calibration error is how far the probabilities lie from the share of "
    "right predictions, in the mean (15 bins, Guo et al. 2017). On the dashed line they "
    "would agree; paler bars hold fewer images, and points lie at the mean confidence. A "
    "temperature above 1 says that the network is too sure of itself, below 1 that it "
    "isn't sure enough; the order of the classes stays."
)
UNFITTED = (
    "No temperature was fitted: that needs predictions of validation images, other ones "
    "than those that are measured here."
)


def confusion(position: int, run: RunFacts) -> str:
    """The confusion matrix, whose cells open their images, and the classes' numbers."""
    measured = run.measured
    if measured is None:
        return ""
    classes = np.arange(len(run.classes))
    said = ""
    if len(classes) > MOST_IN_MATRIX:
        wrong = measured.confusion.sum(axis=1) - np.diag(measured.confusion)
        classes = np.sort(np.argsort(-wrong, kind="stable")[:SHOWN_OF_MANY])
        said = (
            f"<p>Of {len(run.classes):,} classes the matrix has the {SHOWN_OF_MANY} with "
            "most mistakes.</p>"
        )
    return (
        said
        + '<div class="row">'
        + _matrix(position, run, measured, classes)
        + _most_confused(run, measured, position)
        + "</div>"
        + _classes(run, measured, position)
    )


def _matrix(
    position: int, run: RunFacts, measured: Measured, classes: np.ndarray
) -> str:
    names = [name(run.classes[one]) for one in classes]
    small = " small" if len(classes) > MOST_WITH_NUMBERS else ""
    small += " tiny" if len(classes) > MOST_OF_SMALL else ""
    head = "".join(f'<th scope="col"><span>{one}</span></th>' for one in names)
    rows = []
    of_class = np.maximum(measured.confusion.sum(axis=1), 1)
    for true, title in zip(classes, names, strict=True):
        cells = []
        for predicted in classes:
            n = measured.confusion[true, predicted]
            if not n:
                cells.append("<td></td>")
                continue
            kind = ' class="right"' if true == predicted else ""
            share = (n / of_class[true]) ** 0.5  # Rare ones are seen, too.
            cells.append(
                f'<td{kind} style="--s:{share:.2g}"><button tabindex="-1" '
                f'data-cell="{true},{predicted}">{n}</button></td>'
            )
        rows.append(f'<tr><th scope="row">{title}</th>{"".join(cells)}</tr>')
    result = measured.result
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">'
        f'<table class="matrix{small}" data-run="{position}">'
        f"<caption><span>True classes in rows, predicted ones in columns: "
        f"{name(result['data'])} {text(result['split'])}, {text(result['protocol'])}"
        "</span></caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "</div>"
    )


def _most_confused(run: RunFacts, measured: Measured, position: int) -> str:
    wrong = np.array(measured.confusion)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(one), len(wrong)) for one in order]
    rows = [
        [
            f"{name(run.classes[true])} taken for {name(run.classes[predicted])}",
            f'<button data-run="{position}" data-cell="{true},{predicted}">'
            f"{wrong[true, predicted]:,}</button>",
        ]
        for true, predicted in pairs
        if wrong[true, predicted]
    ]
    if not rows:
        return "<p>No image is predicted wrongly.</p>"
    caption = "Classes that are confused most often"
    return table(caption, ("classes", "images"), rows)


def _classes(run: RunFacts, measured: Measured, position: int) -> str:
    """Precision, recall and F1 by class, the hardest first."""
    matrix = measured.confusion
    right, of_class = np.diag(matrix), matrix.sum(axis=1)
    predicted = matrix.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * right / (predicted + of_class)
        precision, recall = right / predicted, right / of_class
    order = np.argsort(np.where(np.isnan(f1), 2, f1), kind="stable")
    rows = []
    for k in map(int, order):
        at = f"{position}/classes#/{k}"
        rows.append(
            [
                name(run.classes[k]),
                number(float(precision[k]), ".3f", f"{at}/precision"),
                number(float(recall[k]), ".3f", f"{at}/recall"),
                number(float(f1[k]), ".3f", f"{at}/f1"),
                count(int(of_class[k]), f"{at}/support"),
            ]
        )
    shown = table(
        "Precision, recall and F1 of each class, the lowest F1 first",
        ("class", "precision", "recall", "F1", "images"),
        rows,
    )
    return details("Each class in numbers", shown)


def worst(position: int, run: RunFacts) -> str:
    """The most confident mistakes, with their class activation maps."""
    measured = run.measured
    if measured is None:
        return ""
    if not len(measured.worst):
        return "<p>No image is predicted wrongly.</p>"
    cards = [
        _card(run, measured, int(one), run.worst.get(int(one)), position)
        for one in measured.worst
    ]
    return f'<ul class="cards">{"".join(cards)}</ul>'


def _card(
    run: RunFacts,
    measured: Measured,
    one: int,
    pictures: tuple[Picture, Picture | None] | None,
    position: int,
) -> str:
    true = run.classes[measured.labels[one]]
    taken = run.classes[measured.predicted[one]]
    drawn = ""
    if pictures is not None:
        image, cam = pictures
        drawn = picture(image, f"Image {measured.names[one]}, of the class {true}")
        if cam is not None:
            drawn += picture(cam, f"What speaks for {taken} in {measured.names[one]}")
    sure = number(
        100 * float(measured.confidence[one]),
        ".1f",
        f"{position}/predictions#/{one}/confidence",
        "%",
    )
    return (
        f"<li>{drawn}<p><strong>{name(true)}</strong> taken for "
        f"<strong>{name(taken)}</strong>, {sure}<br>"
        f'<small class="file">{_file(measured.names[one])}</small></p></li>'
    )


def _file(one: str) -> str:
    """The name of an image; of a data set that has none its position in the split."""
    return f"image {one}" if one.isdecimal() else name(one)


def picture(one: Picture, alternative: str) -> str:
    """An image of the page."""
    small = ' class="pixels"' if max(one.width, one.height) <= 64 else ""
    return (
        f'<img{small} src="{one.source}" width="{one.width}" height="{one.height}" '
        f'alt="{text(alternative)}">'
    )


def calibration(position: int, run: RunFacts) -> str:
    """The reliability diagram, the calibration error and the temperature."""
    measured = run.measured
    if measured is None:
        return ""
    found, at = measured.reliability, f"{position}/predictions#"
    ece = found["ece"]
    drawn = charts.reliability(
        "<strong>Share of right predictions</strong> by confidence",
        found["counts"],
        found["confidence"],
        found["accuracy"],
        label=f"Reliability diagram: the expected calibration error is {ece:.4f}.",
    )
    if measured.temperature is None:
        mended = UNFITTED
    else:
        temperature = number(measured.temperature, ".3f", f"{at}/temperature")
        mended = (
            f"A temperature of {temperature}, fitted on "
            f"{count(measured.fitted_on, f'{at}/fitted_on')} validation images, makes it "
            f"{number(measured.mended, '.4f', f'{at}/mended')}."
        )
    return (
        f'<div class="charts">{drawn}<div><p>The expected calibration error is '
        f"{number(ece, '.4f', f'{at}/ece')}. {mended}</p>"
        f"<p>{_error(measured, position, run)}</p></div></div>"
    )


def _error(measured: Measured, position: int, run: RunFacts) -> str:
    result = measured.result
    at = place(position, run, result)
    mean = float(np.mean(measured.confidence))
    return (
        f"The mean confidence is "
        f"{number(100 * mean, '.1f', f'{position}/predictions#/mean_confidence', '%')}, "
        f"the top-1 error {percent(result['top1_error'], f'{at}/top1_error')}."
    )
