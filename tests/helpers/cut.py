"""Networks with fewer blocks and filters, where a test's claim depends on neither."""

from dataclasses import replace


def cut(spec, *, repeats=2, narrower=1):
    """The network with at most so many blocks a stage, and a part of the filters."""
    stages = (
        replace(
            stage,
            repeats=min(repeats, stage.repeats),
            filters=stage.filters // narrower,
            output_filters=stage.output_filters // narrower,
        )
        for stage in spec.stages
    )
    stem_filters = max(1, spec.stem_filters // narrower)
    return replace(spec, stages=tuple(stages), stem_filters=stem_filters)
