"""PyTorch's networks to compare with, and random numbers for any network.

Those of repositories that are no packages are written anew after them, with the names
of their state dicts:
akamaster/pytorch_resnet_cifar10, szagoruyko/wide-residual-networks (pytorch/) and
fyu/drn. Global average pooling stands for theirs over a map of fixed size.
"""

import importlib
import sys

import torch
from torch import nn
from torch.nn import functional as F

# --- Packages ---------------------------------------------------------------------


def import_torchvision():
    """The package, also where its compiled operators are of another PyTorch's build.

    Networks and transforms of images need none of them: it is enough that the two it
    looks for have a name.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{name}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )
    for module in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[module]
    return importlib.import_module("torchvision")


# --- Random numbers ---------------------------------------------------------------

BLOCKS = ("BasicBlock", "Bottleneck", "PreActBasic", "PreActBottleneck", "DarkBlock")


@torch.no_grad()
def randomize(model, x):
    """Makes every number of a network random, its logits O(1), and returns these.

    The statistics of batch norm are those of ``x``, disturbed: statistics out of the
    air would let the activations grow or vanish over 152 layers. What ends a block is
    scaled down, as in trained networks: with scales of 1 throughout, a random
    network multiplies rounding errors by 3 to 10 in 100 layers.
    """
    torch.manual_seed(0)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(0, 0.2)
        norm.momentum = None  # The average over all batches seen: one.
    for end in ends_of_blocks(model):
        scale = torch.empty(len(end.weight)).uniform_(0.1, 0.5)
        end.weight *= scale.reshape(-1, *[1] * (end.weight.dim() - 1))
    logits = model.train()(x)
    for norm in norms:
        noise = torch.randn_like(norm.running_mean)
        norm.running_mean += 0.2 * noise * norm.running_var.sqrt()
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.5)
    classifier = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][
        -1
    ]
    classifier.weight *= 3 / logits.std()
    classifier.bias.normal_()
    return model.eval()(x).numpy()


def ends_of_blocks(model):
    """The last batch norm of each residual block, its last convolution in v2."""
    for block in model.modules():
        if type(block).__name__ in BLOCKS:
            inside = [
                module
                for name, module in block.named_modules()
                if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
                and not name.startswith(("downsample", "se."))
            ]
            yield inside[-1]


def conv3x3(inputs, outputs, stride=1, dilation=1):
    return nn.Conv2d(
        inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False
    )


def averages(x):
    return x.mean(dim=(2, 3))


# --- akamaster --------------------------------------------------------------------


class AkamasterBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        # A quarter of the outputs before the channels and as many behind.
        self.padding = outputs // 4 if outputs != inputs else 0
        self.stride = stride

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(x, (0, 0, 0, 0, self.padding, self.padding)))


class Akamaster(nn.Module):
    """Its ResNet of 6n + 2 layers for CIFAR-10."""

    def __init__(self, n):
        super().__init__()
        self.conv1 = conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        for number, (inputs, outputs) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            blocks = [AkamasterBlock(inputs, outputs, outputs // inputs)]
            blocks += [AkamasterBlock(outputs, outputs, 1) for _ in range(n - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(averages(self.layer3(self.layer2(self.layer1(x)))))


# --- Wide residual networks -------------------------------------------------------


def bare_kernel(inputs, outputs, size):
    """A tensor of its own, as the port has them, and no module with a ``weight``."""
    return nn.Parameter(
        nn.init.kaiming_normal_(torch.empty(outputs, inputs, size, size))
    )


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inputs)
        self.conv0 = bare_kernel(inputs, outputs, 3)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv1 = bare_kernel(outputs, outputs, 3)
        self.convdim = bare_kernel(inputs, outputs, 1) if inputs != outputs else None
        self.stride = stride

    def forward(self, x):
        activated = F.relu(self.bn0(x))
        y = F.conv2d(activated, self.conv0, stride=self.stride, padding=1)
        y = F.conv2d(F.relu(self.bn1(y)), self.conv1, padding=1)
        if self.convdim is None:
            return x + y
        return y + F.conv2d(activated, self.convdim, stride=self.stride)


class WideResNet(nn.Module):
    """Its network of 6n + 4 layers, ``width`` times as wide, for CIFAR-10."""

    def __init__(self, n, width):
        super().__init__()
        self.conv0 = bare_kernel(3, 16, 3)
        widths = [16, 16 * width, 32 * width, 64 * width]
        for group in range(3):
            inputs, outputs = widths[group : group + 2]
            blocks = nn.Module()
            for index in range(n):
                stride = 2 if group > 0 and index == 0 else 1
                block = WideBlock(inputs if index == 0 else outputs, outputs, stride)
                blocks.add_module(f"block{index}", block)
            self.add_module(f"group{group}", blocks)
        self.bn = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], 10)

    def forward(self, x):
        x = F.conv2d(x, self.conv0, padding=1)
        for group in (self.group0, self.group1, self.group2):
            for block in group.children():
                x = block(x)
        return self.fc(averages(F.relu(self.bn(x))))


# --- Dilated residual networks ----------------------------------------------------


class BasicBlock(nn.Module):
    """Also without its shortcut, as DRN-C ends."""

    expansion = 1

    def __init__(self, inputs, filters, stride, dilations, residual=True):
        super().__init__()
        self.conv1 = conv3x3(inputs, filters, stride, dilations[0])
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = conv3x3(filters, filters, 1, dilations[1])
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = projection(inputs, filters, stride)
        self.residual = residual

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if not self.residual:  # What `downsample` would give, if any, is thrown away.
            return F.relu(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, filters, stride, dilations):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = conv3x3(filters, filters, stride, dilations[1])
        self.bn2 = nn.BatchNorm2d(filters)
        self.conv3 = nn.Conv2d(filters, 4 * filters, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * filters)
        self.downsample = projection(inputs, 4 * filters, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def projection(inputs, outputs, stride):
    if stride == 1 and inputs == outputs:
        return None
    conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def level(block, inputs, filters, repeats, first, stride=1, dilation=1, **options):
    """Blocks in a row, the first with the dilations ``first``."""
    blocks = [block(inputs, filters, stride, first, **options)]
    for _ in range(repeats - 1):
        inputs = filters * block.expansion
        blocks.append(block(inputs, filters, 1, (dilation, dilation), **options))
    return nn.Sequential(*blocks)


def convolutions(inputs, filters, repeats, stride=1, dilation=1):
    """Convolution, norm and ReLU in one sequence, as DRN-D begins and ends."""
    modules = []
    for index in range(repeats):
        conv = conv3x3(
            filters if index else inputs, filters, 1 if index else stride, dilation
        )
        modules += [conv, nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*modules)


class DRN(nn.Module):
    """DRN-C or D: 8 levels of 16, 32, …, 512 filters, of which 4 have a stride."""

    def __init__(self, arch, block, repeats, ends=1):
        super().__init__()
        stem = nn.Conv2d(3, 16, 7, padding=3, bias=False)
        wide = block.expansion
        if arch == "C":
            self.conv1, self.bn1 = stem, nn.BatchNorm2d(16)
            self.layer1 = level(BasicBlock, 16, 16, 1, (1, 1))
            self.layer2 = level(BasicBlock, 16, 32, 1, (1, 1), stride=2)
        else:
            self.layer0 = nn.Sequential(stem, nn.BatchNorm2d(16), nn.ReLU())
            self.layer1 = convolutions(16, 16, 1)
            self.layer2 = convolutions(16, 32, 1, stride=2)
        self.layer3 = level(block, 32, 64, repeats[0], (1, 1), stride=2)
        self.layer4 = level(block, 64 * wide, 128, repeats[1], (1, 1), stride=2)
        # Its `new_level=False`: the first block is as dilated as the others.
        self.layer5 = level(block, 128 * wide, 256, repeats[2], (2, 2), dilation=2)
        self.layer6 = level(block, 256 * wide, 512, repeats[3], (4, 4), dilation=4)
        if arch == "C":
            end = {"residual": False}
            self.layer7 = level(BasicBlock, 512 * wide, 512, 1, (2, 2), **end)
            self.layer8 = level(BasicBlock, 512, 512, 1, (1, 1), **end)
        else:
            self.layer7 = convolutions(512 * wide, 512, ends, dilation=2)
            self.layer8 = convolutions(512, 512, ends)
        self.fc = nn.Conv2d(512, 1000, 1)
        self.arch = arch

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x))) if self.arch == "C" else self.layer0(x)
        for number in range(1, 9):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(x.mean(dim=(2, 3), keepdim=True)).flatten(1)


class DRNA(nn.Module):
    """DRN-A: a ResNet whose last two stages are dilated but for their first block."""

    def __init__(self, block, repeats):
        super().__init__()
        wide = block.expansion
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = level(block, 64, 64, repeats[0], (1, 1))
        self.layer2 = level(block, 64 * wide, 128, repeats[1], (1, 1), stride=2)
        self.layer3 = level(block, 128 * wide, 256, repeats[2], (1, 1), dilation=2)
        self.layer4 = level(block, 256 * wide, 512, repeats[3], (1, 1), dilation=4)
        self.fc = nn.Linear(512 * wide, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        return self.fc(averages(self.layer4(self.layer3(self.layer2(self.layer1(x))))))
