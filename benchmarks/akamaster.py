"""Our ResNet-20 and akamaster's in PyTorch, on the same CIFAR-10 in as many epochs.

    python -m benchmarks.akamaster DATA_DIR OUTPUT_DIR [--epochs 10 | --updates 64000]
        [--seeds 3 | --seed 0] [--only akamaster] [--results DIR]

Ours: the recipe `resnet20_fb_cifar10`. Theirs: the network, augmentation and optimizer
of akamaster/pytorch_resnet_cifar10 d5489e8 (trainer.py, resnet.py), written anew: SGD
with momentum 0.9, decay 1e-4, rate 0.1 divided by 10 at 1/2 and 3/4 of training (counted
in updates here: in few epochs whole ones would miss them), images normalized with
ImageNet's statistics, padded by 4, cropped and flipped. Both train on the CPU in float32
on the same 45,000 images and are measured on the 10,000 test images, final weights.
Images/s are medians over epochs, of updates but the first.

Each finished run leaves a record in results/akamaster/, under a name that holds its
length, and is not done twice. Runs go on in OUTPUT_DIR where they were stopped: theirs
save after every epoch, every ten minutes and on SIGTERM, and end with the same bits.
"""

import argparse
import csv
import datetime
import io
import json
import os
import pathlib
import signal
import statistics
import time

# As the command line sets it: see docs/decisions/0016.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from keras_resnet import reproduce
from keras_resnet.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.data import sources
from keras_resnet.runs import environment
from keras_resnet.runs.record import read_record

RESULTS = pathlib.Path(__file__).parent / "results" / "akamaster"
BATCH_SIZE = 128
SECONDS_BETWEEN = 600  # Two saves, at most.


def ours(seed, options):
    """Test error in percent and images per second."""
    folder = reproduce.train(
        "resnet20_fb_cifar10",
        seed=seed,
        epochs=options.epochs,
        steps=options.updates,
        data_dir=options.data_dir,
        output_dir=options.output_dir,
        devices="cpu",
        precision="float32",
        verbose=2,
    )
    record = read_record(folder / "record.json")
    measured = ("images_per_second", "wall_seconds")
    # The run may have been there already, of an earlier day or commit.
    made_on = ("commit", "dirty", "versions", "hardware")
    ended = time.localtime((folder / "record.json").stat().st_mtime)
    return {
        "date": time.strftime("%Y-%m-%d", ended),
        "test_error": record["test"]["top1_error"],
        **{name: record[name] for name in (*measured, *made_on)},
    }


class Crops:
    """Training images as a torchvision data set gives them, or as they are."""

    def __init__(self, examples, random):
        from tests.helpers.torch_references import import_torchvision

        transforms = import_torchvision().transforms
        steps = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, 4)]
        self.examples = examples
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                *(steps if random else []),
                transforms.ToTensor(),
                transforms.Normalize(
                    *(np.array(v) / 255 for v in (IMAGENET_MEAN, IMAGENET_STD))
                ),
            ]
        )

    def __len__(self):
        return self.examples.size

    def __getitem__(self, index):
        image = self.transform(self.examples.images[index])
        return image.float(), int(self.examples.labels[index])


def epoch_loader(examples, seed, epoch):
    """The batches of an epoch: order and augmentation follow from seed and epoch."""
    import torch
    from torch.utils.data import DataLoader

    # It seeds the workers' generators too, from which the crops are drawn.
    generator = torch.Generator().manual_seed(100_000 * seed + epoch)
    return DataLoader(
        Crops(examples, random=True),
        BATCH_SIZE,
        shuffle=True,
        num_workers=2,
        generator=generator,
    )


class Checkpoint:
    """What of their trainer must survive, in one file.

    Args:
        path: The file.
        parts: Objects with ``state_dict`` and ``load_state_dict``, by name.
    """

    def __init__(self, path, parts):
        self.path = path
        self.parts = parts
        self.asked = False
        self.saved = time.monotonic()
        signal.signal(signal.SIGTERM, self.receive)

    def receive(self, number, frame):
        """Notes that the process was asked to end."""
        self.asked = True

    def restore(self):
        """Updates done, rows of the history, images of the epoch that were seen and
        taken rightly, and seconds, until the last save."""
        import torch

        if not self.path.exists():
            return 0, [], [0, 0], 0.0
        state = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return tuple(state[name] for name in ("done", "rows", "seen", "seconds"))

    def due(self):
        """Whether to save in the middle of an epoch."""
        return self.asked or time.monotonic() - self.saved > SECONDS_BETWEEN

    def save(self, done, rows, seen, seconds):
        """Writes the file whole or not at all, and ends the process if asked to."""
        import torch

        state = {name: part.state_dict() for name, part in self.parts.items()}
        # PyTorch itself does not say that a disk is full.
        contents = io.BytesIO()
        torch.save(state, contents)
        part = self.path.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(contents.getvalue())
        state |= {"done": done, "rows": rows, "seen": seen, "seconds": seconds}
        os.replace(part, self.path)
        self.saved = time.monotonic()
        if self.asked:
            raise SystemExit(128 + signal.SIGTERM)


def theirs(seed, options):
    """The same of the PyTorch trainer."""
    import torch
    from torch.utils.data import DataLoader

    from tests.helpers.torch_references import Akamaster

    torch.manual_seed(seed)
    splits = sources.load("cifar10", data_dir=options.data_dir)
    model = Akamaster(3)
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4
    )
    per_epoch = len(epoch_loader(splits.train, seed, 0))
    updates = options.updates or options.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [updates // 2, updates * 3 // 4]
    )
    name = record_name("akamaster", seed, options)
    folder = options.output_dir / name
    saving = Checkpoint(
        folder / "checkpoint.pt",
        {"model": model, "optimizer": optimizer, "schedule": schedule},
    )
    done, rows, (seen, right), earlier = saving.restore()
    if done:
        print(f"Going on from update {done:,} of {updates:,}.", flush=True)
    started = time.perf_counter()

    def seconds():
        return earlier + time.perf_counter() - started

    while done < updates:
        epoch, skipped = divmod(done, per_epoch)
        model.train()
        times, loss = [], None
        # Those that are skipped are loaded, so that the others are as they would be.
        for index, (images, labels) in enumerate(
            epoch_loader(splits.train, seed, epoch)
        ):
            if index < skipped:
                continue
            if done == updates:
                break
            optimizer.zero_grad()
            logits = model(images)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            rate = schedule.get_last_lr()[0]
            schedule.step()
            seen += len(labels)
            right += int((logits.argmax(-1) == labels).sum())
            done += 1
            times.append(time.perf_counter())
            if saving.due() and done < updates and done % per_epoch:
                saving.save(done, rows, [seen, right], seconds())
        speed = (len(times) - 1) * BATCH_SIZE / max(times[-1] - times[0], 1e-9)
        rows.append(
            {
                "step": done,
                "loss": float(loss),  # Of the last batch.
                "accuracy": right / seen,
                "learning_rate": rate,
                "images_per_second": speed,
            }
        )
        left = (updates - done) * BATCH_SIZE / speed if len(times) > 1 else 0
        print(
            f"update {done:,}/{updates:,}  loss {loss:.3f}  {speed:.0f} images/s  "
            f"{datetime.timedelta(seconds=round(left))} left",
            flush=True,
        )
        seen = right = 0
        saving.save(done, rows, [seen, right], seconds())
    trained = seconds()
    model.eval()
    wrong = 0
    with torch.no_grad():
        for images, labels in DataLoader(Crops(splits.test, random=False), 500):
            wrong += int((model(images).argmax(-1) != labels).sum())
    options.results.mkdir(parents=True, exist_ok=True)
    with (options.results / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return {
        "test_error": 100 * wrong / splits.test.size,
        "images_per_second": round(
            statistics.median(row["images_per_second"] for row in rows), 1
        ),
        "wall_seconds": round(trained, 1),
    }


TRAINERS = {"keras_resnet": ours, "akamaster": theirs}


def length(options):
    """How long a run is, as its record's name has it."""
    return f"{options.updates}updates" if options.updates else f"{options.epochs}epochs"


def record_name(name, seed, options):
    """Of a trainer's run: without its suffix."""
    return f"{name}_{length(options)}_seed{seed}"


def run(name, seed, options):
    """Does a run and leaves its record."""
    made_on = environment.describe()  # Now: the checkout may change while it trains.
    result = TRAINERS[name](seed, options)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        **made_on,
        "trainer": name,
        "seed": seed,
        "epochs": None if options.updates else options.epochs,
        "updates": options.updates,
        **result,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{record_name(name, seed, options)}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")


def main():
    """Does the runs that are missing, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir")
    parser.add_argument("output_dir", type=pathlib.Path)
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--epochs", type=int)
    lengths.add_argument("--updates", type=int)
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=int, default=3, help="0 to one less than this")
    seeds.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--only", choices=TRAINERS)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    if options.updates is None:
        options.epochs = options.epochs or 10
    names = [options.only] if options.only else list(TRAINERS)
    for seed in range(options.seeds) if options.seed is None else [options.seed]:
        for name in names:
            path = options.results / f"{record_name(name, seed, options)}.json"
            if not path.exists():
                run(name, seed, options)
            record = json.loads(path.read_text())
            print(
                f"{name}, seed {seed}: {record['test_error']:.2f} % wrong, "
                f"{record['images_per_second']:.0f} images/s"
            )


if __name__ == "__main__":
    main()
