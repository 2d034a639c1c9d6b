"""The rows of taught tables: from how many images there are, and what computes, to a backbone."""

from __future__ import annotations

from vertebra.choice.rules.rule import REAL_TIME_MS, Rule, Where

BY_COMPUTE = "commonly taught: a table of backbones by data and compute"
BY_SIZE = "commonly taught: a scale of backbones by number of images"
# GPUs from which the row for a cluster is read. No number is taught.
CLUSTER = 8

# The table by data and compute. Between 50 000 and 100 000 images it has no row.
TABLE: tuple[Rule, ...] = (
    Rule(
        code="row.under-50k",
        says="under 50 000 images take a pretrained ResNet-50 with its early layers frozen",
        source=BY_COMPUTE,
        where=Where(
            "under 50 000 images with pretrained weights", images=(0, 50_000), pretrained=True
        ),
        kind="row",
        prefers=("resnet/resnet50",),
        answers=True,
        doubt="elsewhere EfficientNet-B4 or ConvNeXt-T is taught from 10 000 images on; and what "
        "is better on ImageNet is mostly better after fine-tuning (Kornblith et al., 2018, "
        "arXiv:1805.08974)",
    ),
    Rule(
        code="row.100k-1m-one-gpu",
        says="from 100 000 to 1 000 000 images on one GPU take EfficientNet-B3 or ResNet-50",
        source=BY_COMPUTE,
        where=Where(
            "100 000 to 1 000 000 images on one GPU", images=(100_000, 1_000_000), gpus=(0, 2)
        ),
        kind="row",
        prefers=("efficientnet/efficientnet_b3", "resnet/resnet50"),
        answers=True,
        doubt="EfficientNet-B3 has fewer multiply-accumulates and is not faster for it: depthwise "
        "layers wait for memory; a CPU that trains is read as one GPU here",
    ),
    Rule(
        code="row.100k-1m-several-gpus",
        says="from 100 000 to 1 000 000 images on several GPUs take Swin-T or Swin-B",
        source=BY_COMPUTE,
        where=Where(
            "100 000 to 1 000 000 images on several GPUs",
            images=(100_000, 1_000_000),
            gpus=(2, None),
        ),
        kind="row",
        prefers=("swin/swin_t", "swin/swin_b"),
        answers=True,
        doubt="the same teachers say that under 1 000 000 images convolutional networks match or "
        "beat transformers",
    ),
    Rule(
        code="row.from-1m-cluster",
        says="from 1 000 000 images on a cluster take ViT-L, Swin-L or ConvNeXt-L",
        source=BY_COMPUTE,
        where=Where(
            f"1 000 000 images and more on a cluster ({CLUSTER} GPUs or more)",
            images=(1_000_000, None),
            gpus=(CLUSTER, None),
        ),
        kind="row",
        prefers=("vit/vit_l_16", "swin/swin_l", "convnext/convnext_large"),
        answers=True,
        doubt="trained on the 1.28 M images of ImageNet alone, ViT-L/16 stays behind ViT-B/16 "
        "(Dosovitskiy et al., 2020, arXiv:2010.11929, table 5); it takes pretraining on more, or "
        "a heavier recipe (Touvron et al., 2022, arXiv:2204.07118)",
    ),
    Rule(
        code="row.under-1-gmac",
        says="under 1 GMAC take MobileNetV3, EfficientNet-B0 or MobileViT",
        source=BY_COMPUTE,
        where=Where("a budget of at most 1 GMAC", gmacs=1.0),
        kind="row",
        prefers=("mobilenet_v3/*", "efficientnet/efficientnet_b0", "mobilevit/*"),
        answers=True,
        doubt="at their 256 pixels MobileViT-S has 2.0 and MobileViT-XS 1.03 GMAC, so only the "
        "smallest keeps the budget; EfficientNet-B3, taught for mobile too, has 1.83",
    ),
    Rule(
        code="row.real-time-detection",
        says="real-time detection stays with convolutional backbones",
        source=BY_COMPUTE,
        where=Where(
            f"a detector's backbone within {REAL_TIME_MS:g} ms", must_features=True, real_time=True
        ),
        kind="row",
        against=("vit/*", "swin/*", "mobilevit/*"),
        doubt="the row names YOLO and RT-DETR, whole detectors; RT-DETR decodes with a transformer "
        "what a ResNet saw (Zhao et al., 2023, arXiv:2304.08069); where real time begins is this "
        "workbench's reading",
    ),
)

# The scale by number of images alone, which overlaps with the table.
SCALE: tuple[Rule, ...] = (
    Rule(
        code="row.10k-100k",
        says="from 10 000 to 100 000 images take EfficientNet-B4 or ConvNeXt-T",
        source=BY_SIZE,
        where=Where("10 000 to 100 000 images", images=(10_000, 100_000)),
        kind="row",
        prefers=("efficientnet/efficientnet_b4", "convnext/convnext_tiny"),
        answers=True,
        doubt="elsewhere a frozen ResNet-50 is taught up to 50 000 images; EfficientNet-B4 looks "
        "at 380 pixels, and without pretrained weights both have much to learn from so few",
    ),
)
