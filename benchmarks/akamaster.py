"""Our ResNet-20 and akamaster's in PyTorch, on the same CIFAR-10 in as many epochs.

    python -m benchmarks.akamaster DATA_DIR OUTPUT_DIR [--epochs 10] [--seeds 3]
        [--only akamaster]

Ours: the recipe `resnet20_fb_cifar10`. Theirs: the network, augmentation and optimizer
of akamaster/pytorch_resnet_cifar10 d5489e8 (trainer.py, resnet.py), written anew: SGD
with momentum 0.9, decay 1e-4, rate 0.1 divided by 10 at 1/2 and 3/4 of training (counted
in updates here: in few epochs whole ones would miss them), images normalized with
ImageNet's statistics, padded by 4, cropped and flipped. Both train on the CPU in float32
on the same 45,000 images and are measured on the 10,000 test images, final weights.
Images/s are medians over epochs, of updates but the first.

Each finished run leaves a record in results/akamaster/ and is not done twice; ours go on
in OUTPUT_DIR where they were stopped.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

# As the command line sets it: see docs/decisions/0005.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from keras_resnet import reproduce
from keras_resnet.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.data import sources
from keras_resnet.evaluation import environment, records

RESULTS = pathlib.Path(__file__).parent / "results" / "akamaster"
BATCH_SIZE = 128


def ours(seed, options):
    """Test error in percent and images per second."""
    folder = reproduce.train(
        "resnet20_fb_cifar10",
        seed=seed,
        epochs=options.epochs,
        data_dir=options.data_dir,
        output_dir=options.output_dir,
        devices="cpu",
        precision="float32",
        verbose=2,
    )
    record = records.read(folder / "record.json")
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
        from tests.torch_references import import_torchvision

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


def theirs(seed, options):
    """The same of the PyTorch trainer."""
    import torch
    from torch.utils.data import DataLoader

    from tests.torch_references import Akamaster

    torch.manual_seed(seed)
    splits = sources.load("cifar10", data_dir=options.data_dir)
    model = Akamaster(3)
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4
    )
    loader = DataLoader(
        Crops(splits.train, random=True), BATCH_SIZE, shuffle=True, num_workers=2
    )
    updates = options.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [updates // 2, updates * 3 // 4]
    )
    started, speeds = time.perf_counter(), []
    for epoch in range(options.epochs):
        model.train()
        times = []
        for images, labels in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            times.append(time.perf_counter())
        speeds.append((len(times) - 1) * BATCH_SIZE / (times[-1] - times[0]))
        print(f"theirs, seed {seed}, epoch {epoch + 1}: loss {loss:.3f}", flush=True)
    seconds = time.perf_counter() - started
    model.eval()
    wrong = 0
    with torch.no_grad():
        for images, labels in DataLoader(Crops(splits.test, random=False), 500):
            wrong += int((model(images).argmax(-1) != labels).sum())
    return {
        "test_error": 100 * wrong / splits.test.size,
        "images_per_second": round(statistics.median(speeds), 1),
        "wall_seconds": round(seconds, 1),
    }


TRAINERS = {"keras_resnet": ours, "akamaster": theirs}


def run(name, seed, options):
    """Does a run and leaves its record."""
    made_on = environment.describe()  # Of the commit that the run began with.
    result = TRAINERS[name](seed, options)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        **made_on,
        "trainer": name,
        "seed": seed,
        "epochs": options.epochs,
        **result,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_seed{seed}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")


def found():
    """The records that are there, by trainer."""
    files = {name: sorted(RESULTS.glob(f"{name}_seed*.json")) for name in TRAINERS}
    return {
        name: [json.loads(path.read_text()) for path in paths]
        for name, paths in files.items()
    }


def main():
    """Does the runs that are missing, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir")
    parser.add_argument("output_dir", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=TRAINERS)
    options = parser.parse_args()
    names = [options.only] if options.only else list(TRAINERS)
    for seed in range(options.seeds):
        for name in names:
            if not (RESULTS / f"{name}_seed{seed}.json").exists():
                run(name, seed, options)
    for name, runs in found().items():
        for record in runs:
            if record["epochs"] != options.epochs:
                raise ValueError(
                    f"All runs must have {options.epochs} epochs. Received: {name}, seed "
                    f"{record['seed']}, with {record['epochs']}. Remove its record."
                )
            print(
                f"{name}, seed {record['seed']}: {record['test_error']:.2f} % wrong, "
                f"{record['images_per_second']:.0f} images/s"
            )


if __name__ == "__main__":
    main()
