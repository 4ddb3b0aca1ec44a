"""Tables of classifiers' speed and memory, ours beside others'."""

import statistics

from benchmarks.accuracy_tables import akamaster_table
from benchmarks.catalogue import markdown
from benchmarks.circumstances import (
    RESULTS,
    beside_torch,
    installed,
    load,
    machine,
    on_gpu,
)
from benchmarks.landscape import BETTER_LOOP, LOOP

PEER = "keras.applications, SavedModel"


def benchmarks():
    """Our trainer, pipeline and builder beside their peers."""
    tables = (
        akamaster_table(),
        training_table(load("training")),
        first_update_table(load("first_update")),
        input_table(load("input")),
        build_table(load("build")),
    )
    return "\n".join(tables)


def training_table(training):
    """Images per second of training, ours and others'."""
    text = ""
    for graph, precisions in training.items():
        for precision, result in precisions.items():
            speeds = result["images_per_second"].items()
            rows = [(n, f"{s:,.0f}" if s >= 100 else f"{s:.3g}") for n, s in speeds]
            head = [f"training {graph} in {precision} on a CPU", "images/s"]
            text += (
                f"{markdown(head, rows)}\n"
                "Ours to the best of the others: "
                f"{result['ratio_to_best_peer']:.2f} ×. Medians of {result['rounds']} "
                f"interleaved rounds, `benchmarks/training.py`. {beside_torch(result)}.\n\n"
            )
    return text.removesuffix("\n")


def first_update_table(networks):
    """Seconds to the end of the first update, and the memory it takes."""
    rows = []
    for network, result in networks.items():
        for variant, processes in result["variants"].items():
            processes = [of for of in processes if "left_out" not in of]
            if not processes:
                continue
            middle = {
                name: statistics.median(of[name] for of in processes)
                for name in processes[0]
            }
            count = middle.get("operations")
            rows.append(
                (
                    f"{network}, {variant}",
                    f"{middle['seconds']:.3g}",
                    f"{middle['later_seconds']:.2f}",
                    f"{middle['memory_gib']:.1f}",
                    f"{count:,.0f}" if count else "–",
                    len(processes),
                )
            )
    dates = " and ".join(sorted({result["date"] for result in networks.values()}))
    head = [
        "batch 16 at 32x32, float32, on a CPU",
        "`fit` to the end of update 1, s",
        "an update after it, s",
        "memory, GiB",
        "operations of a step's graph",
        "processes",
    ]
    return (
        f"{markdown(head, rows)}\n"
        "Medians over processes that took turns. `benchmarks/first_update.py`. "
        f"{dates}; {installed(result)}, PyTorch {result['versions']['torch']}.\n"
    )


def input_table(result):
    """Images per second from files to training batches."""
    speeds = result["images_per_second"].items()
    rows = [(name, f"{speed:,.0f}") for name, speed in speeds]
    return (
        f"{markdown(['photographs to training batches', 'images/s'], rows)}\n"
        f"Ours to PyTorch's: {result['ratio_to_data_loader']:.2f} ×. "
        f"{result['images']:,} Inception crops of {result['files']} files of ImageNet's "
        f"sizes to 224², medians of {result['rounds']} interleaved rounds, "
        f"`benchmarks/input.py`. {beside_torch(result)}.\n"
    )


def build_table(build):
    """The costs of importing and building."""
    return build["table"] + f"\n`benchmarks/build.py`. {machine(build)}.\n"


def serving():
    """Exported networks, what decoding costs in one, and the server under load."""
    speeds, decoding = load("serving"), load("decoding")
    goals = ", ".join(
        f"{goal} × at batch {batch} ({speeds['ratio_of_best'][batch][PEER]:.2f} × here)"
        for batch, goal in speeds["goals"].items()
    )
    without = " and ".join(
        f"{ratios[PEER]:.2f}"
        for ratios in load("serving_avx2")["ratio_of_best"].values()
    )
    quantized = load("quantized")
    accuracies = ", ".join(
        f"{name} {of['accuracy']:.2f} %" for name, of in quantized["formats"].items()
    )
    [keras] = {of["original_accuracy"] for of in quantized["formats"].values()}
    [images] = {of["images"] for of in quantized["formats"].values()}
    cost = decoding["decoding_costs_percent"]
    share = decoding["decoding_costs_percent_cpu"]
    return (
        f"{speeds['table']}\n"
        "ResNet-50, images/s and how many times keras.applications' ResNet50 under "
        f"`model.export`; medians of {speeds['rounds']} interleaved rounds, "
        f"`benchmarks/serving.py`. {machine(speeds)}. The best form to the "
        f"SavedModel: goals {goals}. With AVX2 alone, which has no unit for 8 bits, "
        f"{without} ×: [the log](LOG.md).\n\n"
        f"In 8 bits `{quantized['run']}` (Keras: {keras:.2f} % of {images:,} images) has "
        f"{accuracies}, `benchmarks/quantized.py`. {machine(quantized)}.\n\n"
        f"Files of {decoding['bytes'] / 1000:.0f} kB in place of decoded images cost "
        f"{cost} % more time in a batch of {decoding['batch']} ({share} % more of the "
        "processor's), `benchmarks/decoding.py`. "
        f"{machine(decoding)}.\n\n"
        f"{server_table(load('serve'))}"
    )


def server_table(result):
    """The server under load, in each form beside a plain loop of it."""
    forms = result["forms"]
    rows = [
        [name, f"{of['loop']:.1f}"]
        + [
            text
            for way in (of["json"], of["binary"])
            for text in (
                f"{way['images_per_second']:.1f} ({way['ratio_to_loop']:.2f} ×)",
                f"{way['p50_ms'] / 1000:.2f}",
                f"{way['p99_ms'] / 1000:.2f}",
            )
        ]
        for name, of in forms.items()
    ]
    ways = [of[way] for of in forms.values() for way in ("json", "binary")]
    one = next(iter(forms.values()))
    head = [
        f"`keras-resnet serve` of {one['network']}",
        "a plain loop, images/s",
        *("JSON, images/s", "p50, s", "p99, s"),
        *("binary tensors, images/s", "p50, s", "p99, s"),
    ]
    return (
        f"{markdown(head, rows)}\n"
        f"{one['clients']} clients at once, each with one file at a time, on the cores "
        f"of the server; {sum(way['answered'] for way in ways):,} images answered, "
        f"{sum(way['lost'] for way in ways)} lost. The goal is {result['goal']:g} × the "
        "loop, which decodes the same files and computes batches of the same form in one "
        f"process. Medians of {len(one['rounds'])} interleaved rounds, p99 of the slowest "
        "one (latency is clients divided by throughput), `benchmarks/serve.py`. "
        f"{machine(one)}.\n"
    )


def landscape():
    """Loss landscapes beside the loop of loss-landscape."""
    found = sorted(path.stem for path in RESULTS.glob("landscape*.json"))
    return "\n".join(landscape_table(load(name)) for name in found)


def landscape_table(result):
    """The loss landscape of one network."""
    seconds = result["seconds"]
    rows = [
        (name, f"{seconds['point'][name]:.2f}", f"{seconds['surface'][name]:.1f}")
        for name in seconds["point"]
    ]
    head = [
        f"the loss of `{result['run']}` on {result['images']:,} images",
        "a point near the network, s",
        "a surface of {} × {} points, s".format(*result["grid"]),
    ]
    faster = "; ".join(
        f"{times[LOOP]:.2f} × as fast as loss-landscape's loop per {kind} (goal "
        f"{result['goals'][kind]} ×), {times[BETTER_LOOP]:.2f} × as fast as the "
        "one with cached batches"
        for kind, times in result["times_faster"].items()
    )
    return (
        f"{markdown(head, rows)}\n"
        f"Ours is {faster}. {100 * result['share_at_or_above_clip']:.0f} % of the "
        f"surface's points have a loss of {result['clip']:g} or more, the clip, and all "
        "variants have the same losses below it. Medians of "
        f"{result['rounds']} interleaved rounds, `benchmarks/landscape.py`. "
        f"{beside_torch(result)}.\n"
    )


def gpu():
    """Training on a GPU beside torchvision and timm."""
    if not (RESULTS / "gpu.json").exists():
        return "Not measured yet.\n"
    result = load("gpu")
    rows = [
        (name, batch_size, *gpu_row(row, of.get("times_as_fast", {}).get(name)))
        for batch_size, of in result["batches"].items()
        for name, row in of["variants"].items()
    ]
    head = [
        f"training ResNet-50 at {result['side']}² in bfloat16",
        "batch",
        "images/s",
        "of the matrix rate",
        "peak memory, GiB",
        "to the best of the others",
    ]
    rates = "; ".join(
        f"at batch {batch_size} {of['rounds']} rounds beside a matrix rate of "
        f"{of['matrix_rate'] / 1e12:,.0f} TFLOP/s"
        for batch_size, of in result["batches"].items()
    )
    *_, last = result["batches"].values()
    return (
        f"{markdown(head, rows)}\n"
        f"The goal is {result['goal']:g} ×. Medians of interleaved rounds, with their "
        f"extremes: {rates}. Random images on the device, `benchmarks/gpu.py`. "
        f"{on_gpu(last)}.\n"
    )


def gpu_row(row, ratio):
    """Speed, share, memory and ratio of a variant, or its error."""
    if "error" in row:
        return row["error"].replace("|", "/"), "–", "–", "–"
    rounds, memory = row["images_per_second_by_round"], row["memory_bytes"]
    return (
        f"{row['images_per_second']:,.0f} ({min(rounds):,.0f}–{max(rounds):,.0f})",
        f"{100 * row['share_of_matrix_rate']:.0f} %",
        f"{memory / 2**30:.1f}" if memory else "–",
        f"{ratio:.2f} ×" if ratio else "–",
    )
