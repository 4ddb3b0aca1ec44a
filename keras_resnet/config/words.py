"""Numbers and nouns for what people read."""


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun, such as ``1 image`` or ``1,200 images``.

    Args:
        count: The number.
        one: The noun in the singular.
        many: In the plural, if it isn't the singular with an s.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
