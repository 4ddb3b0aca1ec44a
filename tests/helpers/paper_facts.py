"""Tables as the papers and their code print them, for the tests to compare with.

They are copied by hand and never computed, so that a mistake in the package can't
move them. "Multiply-adds" are what the papers call FLOPs, in billions (G).
"""

# Network: trainable parameters, moving statistics of batch norm, multiply-adds in G.
# None where no independent count is at hand. Images of 224x224 and 1000 classes;
# 32x32 and 10 for the CIFAR nets. Counted on torchvision's and timm's networks
# (timm's resnetv2 for v2) and on fb.resnet.torch's CIFAR nets; plain34 by hand,
# 112^2 * 9408 + 29 * 115,605,504 + 3 * 57,802,752 + 512,000 = 3,644,493,824, and so
# ResNet-200, block by block: 15,007,481,856, and resnext50_32x4d: 4,230,479,872.
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
    # resnet-1k-layers, wide-residual-networks, ResNeXt, darknet and drn.py, counted on
    # their graphs in PyTorch.
    "resnet200_v1_5": (64_673_832, 176_000, "15.007"),
    "resnetv2_18": (11_687_720, 7_808, "1.814"),
    "resnetv2_34": (21_795_880, 15_232, "3.664"),
    "resnetv2_50": (25_549_352, 45_440, "4.089"),
    "resnetv2_101": (44_541_480, 97_664, "7.801"),
    "resnetv2_152": (60_185_128, 143_744, "11.514"),
    "resnetv2_200": (64_666_152, 168_320, "15.007"),
    "resnet18d": (11_708_744, None, "2.054"),
    "resnet34d": (21_816_904, None, "3.903"),
    "resnet50d": (25_576_264, 53_248, "4.329"),
    "resnet101d": (44_568_392, None, "8.041"),
    "resnet152d": (60_212_040, None, "11.753"),
    "resnet200d": (64_693_064, None, "15.247"),
    # ResNet-C differs from D in where the shortcut loses its resolution only.
    "resnet18c": (11_708_744, None, "2.054"),
    "resnet34c": (21_816_904, None, "3.903"),
    "resnet50c": (25_576_264, 53_248, "4.329"),
    "resnet101c": (44_568_392, None, "8.041"),
    "resnet152c": (60_212_040, None, "11.753"),
    "resnet200c": (64_693_064, None, "15.247"),
    # ResNet-B is v1.5.
    "resnet50b": (25_557_032, 53_120, "4.089"),
    "resnet101b": (44_549_160, 105_344, "7.801"),
    "resnet152b": (60_192_808, 151_424, "11.514"),
    "resnet200b": (64_673_832, 176_000, "15.007"),
    "resnext50_32x4d": (25_028_904, 68_224, "4.230"),
    "resnext101_32x4d": (44_177_704, 137_856, "7.970"),
    "resnext101_32x8d": (88_791_336, None, "16.414"),
    "resnext101_64x4d": (83_455_272, None, "15.460"),
    "wide_resnet50_2": (68_883_240, None, "11.398"),
    "wide_resnet101_2": (126_886_696, None, "22.753"),
    "seresnet50": (28_088_024, None, "4.092"),
    "seresnet101": (49_326_872, None, None),
    "seresnet152": (66_821_848, None, None),
    "seresnext50_32x4d": (27_559_896, None, None),
    "seresnext101_32x4d": (48_955_416, None, None),
    "darknet53": (41_609_928, 35_712, "9.285"),
    "darknet53_timm": (41_609_928, 35_712, "9.285"),
    "drn_a_18": (11_689_512, None, "9.213"),
    "drn_a_34": (21_797_672, None, "17.305"),
    "drn_a_50": (25_557_032, None, "19.079"),
    "drn_c_26": (21_126_584, None, "16.971"),
    "drn_c_42": (31_234_744, None, "25.064"),
    # fyu/drn has 41,591,608 and 33.246 G: 2048 * 512 + 2 * 512 parameters and 28^2 *
    # 1,048,576 multiply-adds of them are a projection that nothing uses.
    "drn_c_58": (41_591_608 - 1_049_600, None, "32.424"),
    "drn_d_22": (16_393_752, None, "13.034"),
    "drn_d_24": (21_114_392, None, None),
    "drn_d_38": (26_501_912, None, "21.127"),
    "drn_d_54": (35_809_176, None, "28.487"),
    "drn_d_105": (54_801_304, None, "43.336"),
    "resnet110_v2": (1_727_962, None, None),
    "resnet164_v2": (1_703_258, None, "0.2445"),
    "resnet1001_v2": (10_327_706, None, "1.488"),
    "wide_resnet16_4": (2_748_890, None, None),
    "wide_resnet16_8": (10_961_370, None, "1.548"),
    "wide_resnet28_2": (1_467_610, None, None),
    "wide_resnet28_10": (36_479_194, None, "5.243"),
    "wide_resnet40_2": (2_243_546, None, None),
    "wide_resnet40_4": (8_949_210, None, "1.299"),
    "wide_resnet40_8": (35_748_314, None, None),
    "wide_resnet40_10": (55_841_754, None, None),
    "resnext29_32x4d": (4_775_754, None, None),
    "resnext29_4x64d": (17_562_442, None, None),
    "resnext29_8x64d": (34_426_698, None, "5.387"),
    "resnext29_16x64d": (68_155_210, None, "10.69"),
    # keras.applications' own counts, without and with the statistics.
    "resnet50_v2_keras": (25_568_360, 25_613_800 - 25_568_360, None),
    "resnet101_v2_keras": (44_675_560 - 97_664, 97_664, None),
    "resnet152_v2_keras": (60_380_648 - 143_744, 143_744, None),
    # By hand: as v1, and a bias of 64 in ResNet-50.
    "resnet50_caffe": (25_557_032 + 64, 53_120, "3.858"),
    "resnet101_caffe": (44_549_160, 105_344, "7.570"),
    "resnet152_caffe": (60_192_808, 151_424, "11.282"),
    # By hand: every convolution has one batch norm, before or behind, and so as many as
    # ResNet-110. ResNet-164's three projections have one as well (2 * 448), but where
    # it follows the addition.
    "resnet110_bn_after_addition": (1_727_962, None, None),
    "resnet110_relu_before_addition": (1_727_962, None, None),
    "resnet110_relu_only_preactivation": (1_727_962, None, None),
    "resnet164": (1_703_258 + 896, None, "0.2445"),
    "resnet164_bn_after_addition": (1_703_258, None, "0.2445"),
    "resnet164_relu_before_addition": (1_703_258 + 896, None, "0.2445"),
    "resnet164_relu_only_preactivation": (1_703_258 + 896, None, "0.2445"),
    # By hand: factors and dropout have no parameters. 18 gates of 1x1 a stage, biased:
    # 18 * 272, 544 + 17 * 1056, 2112 + 17 * 4160; projections with batch norm instead:
    # 18 * 288, 576 + 17 * 1088, 2176 + 17 * 4224.
    "resnet110_constant_scaling": (1_727_962, None, None),
    "resnet110_dropout_shortcut": (1_727_962, None, None),
    "resnet110_stochastic_depth": (1_727_962, None, None),
    "resnet110_exclusive_gating": (1_727_962 + 96_224, None, None),
    "resnet110_shortcut_gating": (1_727_962 + 96_224, None, None),
    "resnet110_conv_shortcut": (1_727_962 + 98_240, None, None),
    # By hand, k k i o + o a convolution and its bias, two of them in a gated layer; the
    # papers print 2.3M and 1.25M.
    "highway19": (2_342_406, None, None),
    "highway32": (1_244_478, None, None),
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
    ("resnet110_v2", "B"): (1_730_522, None),
}

# Trainable parameters with the 100 classes of CIFAR-100.
COUNTS_OF_100_CLASSES = {
    "resnet164_v2": 1_726_388,
    "resnet1001_v2": 10_350_836,
    "wide_resnet16_8": 11_007_540,
    "wide_resnet28_10": 36_536_884,
    "wide_resnet40_4": 8_972_340,
    "resnext29_8x64d": 34_518_948,
    "resnext29_16x64d": 68_247_460,
}

# Multiply-adds of resnet50_v1_5 by output stride, in G.
MULTIPLY_ADDS_OF_OUTPUT_STRIDES = {16: "6.209", 8: "19.079"}

# Multiply-adds of darknet53 on images of 224x224, in G.
DARKNET53_AT_224 = "7.109"

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

# He et al. 2016b, table 4: top-1 test error on CIFAR-10 and CIFAR-100 in percent, medians.
CIFAR_ERROR_V2 = {
    "resnet110_v2": (6.37, None),
    "resnet164_v2": (5.46, 24.33),
    "resnet1001_v2": (4.92, 22.71),
}

# szagoruyko/wide-residual-networks README.md and Zagoruyko & Komodakis 2016, tables 5 and
# 6: the same; with dropout, and on SVHN.
CIFAR_ERROR_WIDE = {
    "wide_resnet40_4": (4.53, 21.18),
    "wide_resnet16_8": (4.27, 20.43),
    "wide_resnet28_10": (4.00, 19.25),
    "wide_resnet28_10_dropout": (3.89, 18.85),
    "wide_resnet40_10_dropout": (3.8, 18.3),
}
SVHN_ERROR_WIDE = 1.54

# Xie et al. 2017, table 7: the same.
CIFAR_ERROR_RESNEXT = {
    "resnext29_8x64d": (3.65, 17.77),
    "resnext29_16x64d": (3.58, 17.31),
}

# Top-1 validation error on ImageNet in percent, one crop: fb.resnet.torch
# pretrained/README.md, ResNeXt README.md, drn README.md.
IMAGENET_ERROR = {
    "resnet18_fb": 30.43,
    "resnet34_fb": 26.73,
    "resnet50_fb": 24.01,
    "resnet101_fb": 22.44,
    "resnet152_fb": 22.16,
    "resnet200_fb": 21.66,
    "resnext50_32x4d": 22.2,
    "resnext101_32x4d": 21.2,
    "resnext101_64x4d": 20.4,
    "drn_a_18": 28.0,
    "drn_a_34": 24.8,
    "drn_a_50": 22.9,
    "drn_c_26": 24.9,
    "drn_c_42": 22.9,
    "drn_c_58": 21.7,
    "drn_d_22": 25.8,
    "drn_d_38": 23.8,
    "drn_d_54": 21.2,
    "drn_d_105": 20.6,
    "resnet152_v2": 21.1,
    "resnet200_v2": 20.7,
}

# Top-1 accuracy on ImageNet in percent: He et al. 2019 (refinements of ResNet-50-D),
# torchvision's IMAGENET1K_V2, NVIDIA's README.md (50, 90 and 250 epochs), Redmon & Farhadi
# 2018.
IMAGENET_ACCURACY = {
    "resnet50d_tricks": 78.31,
    "resnet50d_mixup": 79.15,
    "resnet50d_distill": 79.29,
    "resnet50_tv2": 80.858,
    "resnet101_tv2": 81.886,
    "resnet152_tv2": 82.284,
    "resnext50_tv2": 81.198,
    "resnet50_nv50": 75.81,
    "resnet50_nv90": 77.12,
    "resnet50_nv250": 78.43,
    "darknet53": 77.2,
}

# Recipe: images, batch size, epochs, epochs after which the learning rate falls and by
# what; the rate at first. From the commands and constants of the same sources.
STEPS = {
    "resnet20_fb_cifar10": (50_000, 128, 164, (80, 121), 0.1, 0.1),
    "wide_resnet28_10_cifar100": (50_000, 128, 200, (59, 119, 159), 0.2, 0.1),
    "wide_resnet16_8_svhn": (604_388, 128, 160, (79, 119), 0.1, 0.01),
    "resnext29_8x64d_cifar10": (50_000, 128, 300, (150, 225), 0.1, 0.1),
    "resnet50_fb_imagenet": (1_281_167, 256, 90, (30, 60), 0.1, 0.1),
    "resnext50_32x4d_imagenet": (1_281_167, 256, 100, (30, 60, 90), 0.1, 0.1),
    "drn_c_26_imagenet": (1_281_167, 256, 120, (30, 60, 90), 0.1, 0.1),
    "resnet200_v2_imagenet": (1_281_167, 256, 90, (30, 60), 0.1, 0.1),
}

# Recipe: images, batch size, epochs, warm-up epochs, the highest learning rate.
COSINES = {
    "resnet50d_tricks_imagenet": (1_281_167, 1024, 120, 5, 0.4),
    "resnet50d_mixup_imagenet": (1_281_167, 1024, 200, 5, 0.4),
    "resnet50_tv2_imagenet": (1_281_167, 1024, 600, 5, 0.5),
    "resnet50_nv50_imagenet": (1_281_167, 2048, 50, 8, 2.048),
    "resnet50_nv90_imagenet": (1_281_167, 2048, 90, 8, 2.048),
    "resnet50_nv250_imagenet": (1_281_167, 2048, 250, 8, 2.048),
}

# What the sources' code does, by recipe: momentum, whether it is Nesterov's, weight decay,
# updates in an epoch, mean and deviation of the pixels, each typed from the files named.
CIFAR10_PIXELS = ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
CIFAR100_PIXELS = ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4))
TORCH_PIXELS = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
OF_SOURCES = {
    # fb.resnet.torch opts.lua, train.lua, datasets/cifar10.lua
    "resnet20_fb_cifar10": (0.9, True, 1e-4, 391, *CIFAR10_PIXELS),
    # wide-residual-networks train.lua, meanstd (of both sets), scripts/train_cifar.sh
    "wide_resnet28_10_cifar10": (0.9, True, 5e-4, 390, *CIFAR10_PIXELS),
    "wide_resnet28_10_cifar100": (0.9, True, 5e-4, 390, *CIFAR10_PIXELS),
    "wide_resnet40_10_dropout_cifar100": (0.9, True, 5e-4, 390, *CIFAR10_PIXELS),
    # ResNeXt README.md, datasets/cifar10.lua, cifar100.lua and imagenet.lua
    "resnext29_8x64d_cifar10": (0.9, True, 5e-4, 391, *CIFAR10_PIXELS),
    "resnext29_8x64d_cifar100": (0.9, True, 5e-4, 391, *CIFAR100_PIXELS),
    "resnext50_32x4d_imagenet": (0.9, True, 1e-4, 5005, *TORCH_PIXELS),
    # fb.resnet.torch opts.lua, train.lua, datasets/imagenet.lua
    "resnet50_fb_imagenet": (0.9, True, 1e-4, 5005, *TORCH_PIXELS),
    # vision references/classification/train.py and sampler.py, RASampler:
    # 1,281,167 // 256 * 256 images of 8 GPUs in batches of 128
    "resnet50_tv2_imagenet": (0.9, False, 2e-5, 1251, *TORCH_PIXELS),
}

# What the sources do otherwise than the rows, which these must say: by the beginning of a
# recipe's name and its data set.
DECLARED = {
    ("resnet50_fb", "imagenet2012"): ("batch norm after the addition",),
    ("resnet20_fb", "cifar10"): ("2 / fan-out", "1 / sqrt(n)"),
    ("resnet18_fb", "imagenet2012"): ("2 / fan-out", "1 / sqrt(n)"),
    ("resnext29", "cifar100"): ("2 / fan-out", "1 / sqrt(n)"),
    ("resnext50_32x4d", "imagenet2012"): ("2 / fan-out", "1 / sqrt(n)"),
    ("wide_resnet", "cifar10"): ("1 / sqrt(n)", "U(0, 1)", "begins anew"),
    ("wide_resnet", "cifar100"): ("1 / sqrt(n)", "U(0, 1)", "begins anew"),
    ("wide_resnet", "svhn"): ("1 / sqrt(n)", "U(0, 1)", "begins anew"),
    ("resnet164_v2", "cifar10"): ("the mean of each pixel",),
    ("resnet1001_v2", "cifar100"): ("the mean of each pixel",),
    ("resnet50_tv2", "imagenet2012"): ("2 / fan-out", "1 / sqrt(n)", "repeated"),
}
