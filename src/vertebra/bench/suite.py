"""Sets of networks that belong together."""

from __future__ import annotations

from vertebra.core import unknown

# Every family of the zoo, from its smallest to what two cores measure in a minute.
FAMILIES = """
lenet5 alexnet nin_imagenet vgg11 vgg16 vgg16_bn googlenet inception_v3
resnet18 resnet34 resnet50 resnet101 resnext50_32x4d wide_resnet50_2 seresnet50
resnet50_v2 resnet101_v2 densenet121 densenet169
mobilenet_v1 mobilenet_v1_050 mobilenet_v2 mobilenet_v2_140 mobilenet_v3_small mobilenet_v3_large
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_lite0
vit_ti_16 vit_s_16 vit_b_16 vit_b_32 swin_t swin_s
mobilevit_xxs mobilevit_xs mobilevit_s
convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny convnext_small
""".split()
SUITES = {"families": FAMILIES}
ENGINES, PRECISIONS = ("eager", "onnxruntime", "openvino"), ("fp32", "bf16", "int8")


def suite(name: str) -> list[str]:
    """The networks of a suite.

    Raises:
        VertebraError: there is none of that name.
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]
