"""What is taught in one sentence: where to begin, what to leave, what suits which task."""

from __future__ import annotations

from vertebra.choice.rules.rule import REAL_TIME_MS, Rule, Where

TAUGHT = "commonly taught"
# The published top-1 of ResNet-50 (torchvision, IMAGENET1K_V2).
RESNET50 = 0.80858
ALWAYS = Where("always")

HABITS: tuple[Rule, ...] = (
    Rule(
        code="start.resnet50",
        says="begin with ResNet-50 and its best weights, and compare everything else with it",
        source=f"{TAUGHT}; Wightman et al., 2021 (arXiv:2110.00476)",
        where=Where("pretrained weights may be had", pretrained=True),
        prefers=("resnet/resnet50",),
        doubt="it is where to begin and says little of where to end; and 4.1 GMAC are too many for "
        "a phone",
    ),
    Rule(
        code="start.pretrained-resnet",
        says="on little data a pretrained ResNet with a new head is the best quick baseline",
        source=TAUGHT,
        where=Where(
            "under 10 000 images with pretrained weights", images=(0, 10_000), pretrained=True
        ),
        prefers=("resnet/resnet18", "resnet/resnet34", "resnet/resnet50", "resnet/resnet101"),
        doubt="how much is little is not taught; 10 000 is where the other rules begin",
    ),
    Rule(
        code="accuracy.efficientnet-b4",
        says="where ResNet-50 is not accurate enough, take EfficientNet-B4",
        source=TAUGHT,
        where=Where("more accuracy than ResNet-50's is asked for", above=RESNET50),
        prefers=("efficientnet/efficientnet_b4",),
        answers=True,
        doubt="that is read off ImageNet (80.86 % beside 83.38 % at 380 pixels); what either "
        "reaches on other data has to be measured there",
    ),
    Rule(
        code="new.convnext",
        says="for new work take ConvNeXt",
        source=f"{TAUGHT}; Liu et al., 2022 (arXiv:2201.03545)",
        where=ALWAYS,
        prefers=("convnext/*",),
        answers=True,
        doubt="its depthwise 7x7 layers are slower than their multiply-accumulates promise, and "
        "much of its gain is its recipe",
    ),
    Rule(
        code="mobile.names",
        says="for phones take MobileNetV3 or EfficientNet-Lite",
        source=TAUGHT,
        where=Where("a budget of at most 1 GMAC", gmacs=1.0),
        prefers=("mobilenet_v3/*", "efficientnet/efficientnet_lite*"),
        answers=True,
        doubt="elsewhere EfficientNet-B0 and MobileViT stand in their place; of the larger Lite "
        "networks no weights can be had here, and Lite3 and Lite4 exceed 1 GMAC",
    ),
    Rule(
        code="never.vgg",
        says="never take VGG as the backbone of new work",
        source=TAUGHT,
        where=ALWAYS,
        against=("vgg/*",),
        doubt="its maps still serve perceptual losses (Johnson et al., 2016, arXiv:1603.08155)",
    ),
    Rule(
        code="cnn.under-1m",
        says="under 1 000 000 images convolutional networks match or beat transformers",
        source=f"{TAUGHT}; Dosovitskiy et al., 2020 (arXiv:2010.11929), of pretraining on few",
        where=Where("under 1 000 000 images", images=(0, 1_000_000)),
        against=("vit/*", "swin/*"),
        doubt="it holds for learning from so few alone: pretrained ViTs are fine-tuned well on "
        "small sets (Steiner et al., 2021, arXiv:2106.10270)",
    ),
    Rule(
        code="scratch.no-vit",
        says="nobody should train a ViT from scratch on 50 000 images",
        source=TAUGHT,
        where=Where("at most 50 000 images from scratch", images=(0, 50_001), pretrained=False),
        against=("vit/*", "swin/*"),
        doubt="a rule and no law: with changes for few images and much augmentation small ViTs "
        "learn CIFAR-10, which has 50 000 (Lee et al., 2021, arXiv:2112.13492)",
    ),
    Rule(
        code="edge.cnn",
        says="fast inference at the edge belongs to convolutional networks",
        source=TAUGHT,
        where=Where(f"on a CPU within {REAL_TIME_MS:g} ms", device="cpu", real_time=True),
        against=("vit/*", "swin/*"),
        doubt="matrix products are what CPUs do best: measured, ViT-Ti may well keep the limit",
    ),
    Rule(
        code="cpu.not-b4",
        says="on a CPU EfficientNet-B4 at 380 pixels is far slower than ResNet-50 at 224, although "
        "it has fewer parameters",
        source=TAUGHT,
        where=Where("a limit on the time of a call, on a CPU", device="cpu", timed=True),
        against=tuple(f"efficientnet/efficientnet_b{scale}" for scale in (4, 5, 6, 7)),
        doubt="it hangs on engine and precision, and can be measured: vertebra bench",
    ),
    Rule(
        code="heads.resnet",
        says="most heads of detectors and segmenters know ResNet-50 and ResNet-101",
        source=TAUGHT,
        where=Where("maps of several stages are needed", must_features=True),
        prefers=("resnet/resnet50", "resnet/resnet101"),
        doubt="any backbone here gives the maps of its stages, and Swin and ConvNeXt were "
        "published with detectors (arXiv:2103.14030, arXiv:2201.03545)",
    ),
    Rule(
        code="scarce.densenet",
        says="DenseNet suits medical images of which there are few",
        source=TAUGHT,
        where=Where("under 10 000 images far from photographs", images=(0, 10_000), domain="far"),
        prefers=("densenet/*",),
        doubt="its best-known medical network learnt from 112 120 X-rays (Rajpurkar et al., 2017, "
        "arXiv:1711.05225), and on such images small networks are as good (Raghu et al., 2019, "
        "arXiv:1902.07208)",
    ),
    Rule(
        code="order.smallest-that-passes",
        says="search from small to large, and stop at the first that meets the target",
        source=TAUGHT,
        where=Where("an accuracy to reach is named", target=True),
        kind="order",
        doubt="which one passes is known only from this very data: a published accuracy is not it",
    ),
)
