"""Small folders of images with boxes, in VOC's layout and in COCO's form; needs Pillow."""

import json
import zlib

import numpy as np
from PIL import Image

from keras_resnet.data.image_sizes import Seen
from tests.helpers.photos import encoded, exif, with_exif


def photograph(height, width, boxes=(), value=255):
    """A black image, uint8, that is white in half-open boxes of whole pixels."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = value
    return pixels


def picture_of(name, height=40, width=60):
    """A black image with a pixel that no other name's has."""
    pixels = photograph(height, width)
    pixels[-1, -1] = np.frombuffer(zlib.crc32(name.encode()).to_bytes(4), np.uint8)[:3]
    return pixels


def write_image(path, pixels, orientation=1):
    """Writes a PNG, with an EXIF orientation if it is lying."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = encoded(pixels, "PNG")
    if orientation != 1:
        file = with_exif(file, exif(orientation))
    path.write_bytes(file)


def xml(objects, size=(40, 60), more=""):
    """An annotation of VOC's form.

    Args:
        objects: Rows ``(name, xmin, ymin, xmax, ymax)``, perhaps with ``difficult``; or
            text that is put there as it is.
        size: Height and width that it states; `None` for nothing.
        more: Text that is put at the end.
    """
    said = ["<annotation>"]
    if size:
        height, width = size
        said.append(f"<size><width>{width}</width><height>{height}</height></size>")
    for one in objects:
        if not isinstance(one, str):
            name, *corners = one
            tags = ("xmin", "ymin", "xmax", "ymax")
            box = "".join(
                f"<{tag}>{value}</{tag}>"
                for tag, value in zip(tags, corners, strict=False)
            )
            flag = f"<difficult>{int(bool(corners[4:] and corners[4]))}</difficult>"
            one = f"<object><name>{name}</name>{flag}<bndbox>{box}</bndbox></object>"
        said.append(one)
    return "\n".join([*said, more, "</annotation>"])


def voc_folder(root, images, lists=None, size=(40, 60)):
    """Writes a folder in VOC's layout.

    Args:
        root: Where.
        images: Rows of objects, as of `xml`, by the image's name; text is written as it is.
        lists: Names of images by the name of their list; `None` writes no lists.
        size: Height and width of all images.
    """
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    for name, objects in images.items():
        write_image(root / "JPEGImages" / f"{name}.png", picture_of(name, *size))
        text = objects if isinstance(objects, str) else xml(objects, size)
        (root / "Annotations" / f"{name}.xml").write_text(text)
    for split, names in (lists or {}).items():
        file = root / "ImageSets" / "Main" / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(names) + "\n")
    return root


def coco_file(path, boxes, categories=((3, "dog"), (1, "cat")), folder=None, **more):
    """Writes a file in COCO's form, and black images beside it.

    Args:
        path: The JSON file.
        boxes: Rows ``(category, x, y, width, height)``, perhaps with a dictionary of other
            keys, by the image's name without suffix.
        categories: Their numbers and names.
        folder: Where the images are written; beside the file by default.
        more: Keys of the file that are put in place of ours.
    """
    rows, annotations = [], []
    for number, (name, objects) in enumerate(boxes.items(), start=11):
        file = f"{name}.png"
        write_image((folder or path.parent) / file, picture_of(str(path) + name))
        rows.append({"id": number, "file_name": file, "height": 40, "width": 60})
        for category, *box in objects:
            other = box.pop() if isinstance(box[-1], dict) else {}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": box,
                    "area": box[2] * box[3] / 2,
                    "iscrowd": 0,
                    **other,
                }
            )
    values = {
        "images": rows,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in categories],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values | more))
    return path


def seen_by_pillow(paths, what):
    """What `image_sizes.of_files` gives, in a hundredth of its time for small files."""

    def seen(path):
        try:
            image = Image.open(path)
            image.load()
        except (OSError, SyntaxError) as error:
            return f"can't be read ({type(error).__name__})"
        return Seen(image.size[::-1], image.getexif().get(0x0112, 1))

    return {index: seen(path) for index, path in enumerate(paths)}
