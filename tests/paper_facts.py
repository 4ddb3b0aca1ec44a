"""Tables as the papers and their code print them, for the tests to compare with.

They are copied by hand and never computed, so that a mistake in the package can't
move them. "Multiply-adds" are what the papers call FLOPs, in billions (G).
"""

# Network: trainable parameters, moving statistics of batch norm, multiply-adds in G.
# None where no independent count is at hand. Images of 224x224 and 1000 classes;
# 32x32 and 10 for the CIFAR nets. Counted on torchvision's and timm's networks
# (timm's resnetv2 for v2) and on fb.resnet.torch's CIFAR nets; plain34 by hand,
# 112^2 * 9408 + 29 * 115,605,504 + 3 * 57,802,752 + 512,000 = 3,644,493,824, and so
# resnet200_v2, block by block: 15,007,481,856.
COUNTS = {
    "plain18": (11_515_688, None, "1.795"),
    "plain34": (21_623_848, None, "3.644"),
    "resnet18": (11_689_512, 9_600, "1.814"),
    "resnet34": (21_797_672, 17_024, "3.664"),
    "resnet50": (25_557_032, 53_120, "3.858"),
    "resnet101": (44_549_160, 105_344, "7.570"),
    "resnet152": (60_192_808, 151_424, "11.282"),
    "resnet50_v1_5": (25_557_032, 53_120, "4.089"),
    "resnet101_v1_5": (44_549_160, 105_344, "7.801"),
    "resnet152_v1_5": (60_192_808, 151_424, "11.514"),
    "resnet18_v2": (11_687_720, 7_808, "1.814"),
    "resnet34_v2": (21_795_880, 15_232, "3.664"),
    "resnet50_v2": (25_549_352, 45_440, "4.089"),
    "resnet101_v2": (44_541_480, 97_664, "7.801"),
    "resnet152_v2": (60_185_128, 143_744, "11.514"),
    "resnet200_v2": (64_666_152, 168_320, "15.007"),
    "resnet20": (269_722, None, "0.0406"),
    "resnet32": (464_154, None, "0.0689"),
    "resnet44": (658_586, None, "0.0972"),
    "resnet56": (853_018, None, "0.1255"),
    "resnet110": (1_727_962, None, "0.2529"),
    "resnet1202": (19_421_274, None, "2.829"),
    "plain20": (269_722, None, "0.0406"),
    "plain32": (464_154, None, "0.0689"),
    "plain44": (658_586, None, "0.0972"),
    "plain56": (853_018, None, "0.1255"),
    "plain110": (1_727_962, None, "0.2529"),
}

# (Network, shortcut option): trainable parameters, multiply-adds in G.
COUNTS_OF_OPTIONS = {
    ("resnet18", "A"): (11_515_688, "1.795"),
    ("resnet34", "A"): (21_623_848, "3.644"),
    ("resnet20", "B"): (272_474, None),
    ("resnet32", "B"): (466_906, None),
    ("resnet44", "B"): (661_338, None),
    ("resnet56", "B"): (855_770, None),
    ("resnet110", "B"): (1_730_714, None),
}

# He et al. 2016a, table 6, "# params".
PARAMETERS_TABLE_6 = {
    "resnet20": "0.27M",
    "resnet32": "0.46M",
    "resnet44": "0.66M",
    "resnet56": "0.85M",
    "resnet110": "1.7M",
    "resnet1202": "19.4M",
}

# He et al. 2016a, table 1, "FLOPs", in G.
FLOPS_TABLE_1 = {
    "resnet18": 1.8,
    "resnet34": 3.6,
    "resnet50": 3.8,
    "resnet101": 7.6,
    "resnet152": 11.3,
}

# He et al. 2016a, table 1, "output size" and the filters of each stage's last layer.
STAGES_TABLE_1 = {
    "resnet18": ((56, 64), (28, 128), (14, 256), (7, 512)),
    "resnet34": ((56, 64), (28, 128), (14, 256), (7, 512)),
    "resnet50": ((56, 256), (28, 512), (14, 1024), (7, 2048)),
    "resnet101": ((56, 256), (28, 512), (14, 1024), (7, 2048)),
    "resnet152": ((56, 256), (28, 512), (14, 1024), (7, 2048)),
}

# He et al. 2016a, sec. 4.2: "output map size" and "# filters" of the CIFAR nets.
STAGES_CIFAR = ((32, 16), (16, 32), (8, 64))

# He et al. 2016a, table 6: top-1 test error on CIFAR-10 in percent, as printed.
CIFAR10_ERROR = {
    "resnet20": 8.75,
    "resnet32": 7.51,
    "resnet44": 7.17,
    "resnet56": 6.97,
    "resnet110": 6.43,
    "resnet1202": 7.93,
}
