"""The sections of a recipe: every field, what it means and which values it may have.

Where a field may be None the run decides by a fixed rule of data, network and machine
(:mod:`vertebra.train.rules`) and writes down what it decided.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vertebra.runs.duration import Duration, DurationField

_Share = Annotated[float, Field(gt=0, le=1)]
_Probability = Annotated[float, Field(ge=0, le=1)]
_Decay = Annotated[float, Field(ge=0, lt=1)]
_Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AboutSection(Section):
    """Where a recipe comes from. Decides nothing.

    ``origin``: paper, equation or reference implementation. ``reached``: what was published of it
    there, with network and data. ``departs``: what is different here.
    """

    origin: str = ""
    reached: str = ""
    departs: str = ""


class ModelSection(Section):
    """Which network. ``num_classes`` and ``in_chans`` None: what the data has.

    ``weights``: where to start: None, its own initialisation; else torchvision's or timm's name of
    weights, a file, or a run's folder; ``weights_sha256``: of the file, written down when a run
    begins, so that a replay does not start from another one. ``spatial_dropout``: drop whole
    channels of the last map (Tompson et al., 2014, arXiv:1411.4280).
    """

    name: str
    num_classes: int | None = Field(None, ge=1)
    in_chans: int | None = Field(None, ge=1)
    weights: str | None = None
    weights_sha256: str | None = None
    dropout: float | None = Field(None, ge=0, lt=1)
    spatial_dropout: float = Field(0.0, ge=0, lt=1)
    drop_path: float | None = Field(None, ge=0, lt=1)
    options: dict[str, bool | int | float | str] = {}


class AugmentSection(Section):
    """What changes from epoch to epoch in a training image.

    ``crop``: "pad" pads by ``padding`` pixels and cuts a random window, "resized" cuts a random
    part of ``scale`` of the area with an aspect in ``ratio`` and resizes it (Szegedy et al., 2014),
    "none" takes the centre. ``flip``: mirrors every other image; only where a mirrored object is
    still the same class. ``policy``: AutoAugment (arXiv:1805.09501), RandAugment (arXiv:1909.13719;
    ``policy_ops`` operations of ``policy_magnitude`` of 31) or TrivialAugment (arXiv:2103.10158).
    ``jitter``: of brightness, contrast and saturation. ``erase``: the probability of random erasing
    (arXiv:1708.04896).
    """

    crop: Literal["pad", "resized", "none"] = "pad"
    padding: int = Field(4, ge=0)
    scale: tuple[_Share, _Share] = (0.35, 1.0)
    ratio: tuple[_Positive, _Positive] = (0.75, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: bool = False
    policy: Literal["autoaugment", "randaugment", "trivialaugment"] | None = None
    policy_ops: int = Field(2, ge=1)
    policy_magnitude: int = Field(9, ge=0, le=30)
    jitter: float = Field(0.0, ge=0)
    erase: _Probability = 0.0

    @field_validator("scale", "ratio")
    @classmethod
    def _ascending(cls, pair: tuple[float, float]) -> tuple[float, float]:
        if pair[0] > pair[1]:
            raise ValueError("Input should be the smaller number first")
        return pair


class DataSection(Section):
    """Which images and how they become batches.

    Sizes are in pixels: the shorter side is resized to ``resize``, of which ``image_size`` is cut.
    None: the source's own size (digits: 32) or the network's. ``progressive``: training sizes from
    an epoch on, as ``[[0ep, 128], [10ep, 160]]``; ``image_size`` stays that of validation.
    ``mean`` and ``std`` are per channel, for values in [0, 1]; None: ImageNet's. ``split_seed``
    decides who is in which split where the source does not, apart from the run's ``seed`` so that
    seeds can be compared; ``folds`` and ``fold`` make validation one of so many equal parts.
    ``balanced``: draw every class equally often. ``repeats``: repeated augmentation (Hoffer et al.,
    2019, arXiv:1901.09335), so many views of an image in a batch. ``decode``: "scaled" lets the
    JPEG decoder shrink while decoding. ``cache``: where decoded images are kept, up to
    ``cache_gib``, in ``cache_folder`` if on disk; these change speed only. None: in memory, an
    eighth of the machine's or a GiB. ``resize_filter``: of resizing for validation.
    """

    source: str
    split_seed: int = Field(0, ge=0)
    folds: int | None = Field(None, ge=2)
    fold: int | None = Field(None, ge=0)
    image_size: int | None = Field(None, ge=4)
    resize: int | None = Field(None, ge=4)
    progressive: tuple[tuple[DurationField, Annotated[int, Field(ge=4)]], ...] = ()
    channels: Literal[1, 3] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[_Positive, ...] | None = None
    balanced: bool = False
    repeats: int = Field(1, ge=1)
    short_batch: Literal["drop", "keep"] = "drop"
    decode: Literal["full", "scaled"] = "full"
    cache: Literal["none", "ram", "disk"] | None = None
    cache_gib: float | None = Field(None, ge=0)
    cache_folder: str | None = None
    resize_filter: Literal["bilinear", "bicubic"] | None = None
    augment: AugmentSection = AugmentSection()

    @model_validator(mode="after")
    def _whole_folds(self) -> DataSection:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("data.folds and data.fold are given together or not at all")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"data.fold counts from 0, so it is below data.folds ({self.folds})")
        return self

    @field_validator("progressive")
    @classmethod
    def _from_the_start(
        cls, stages: tuple[tuple[Duration, int], ...]
    ) -> tuple[tuple[Duration, int], ...]:
        starts = [start.value for start, _ in stages]
        whole = all(start.unit == "ep" and start.value == int(start.value) for start, _ in stages)
        if stages and (starts[0] != 0 or starts != sorted(set(starts)) or not whole):
            raise ValueError("Input should be whole epochs from 0ep on, ascending")
        return stages


class DistillSection(Section):
    """Learning from another run's answers (Hinton et al., 2015, arXiv:1503.02531).

    The loss is ``(1 - weight) * CE(labels) + weight * temperature^2 * KL(teacher, student)``, both
    softened by ``temperature``. ``teacher``: a run's folder; None: no distillation.
    ``teacher_sha256``: of its best weights, written down when a run begins.
    """

    teacher: str | None = None
    teacher_sha256: str | None = None
    weight: _Probability = 0.9
    temperature: float = Field(4.0, gt=0)


class TrainSection(Section):
    """How the weights are found.

    Length: ``duration``. ``batch_size`` images make one optimiser step, whatever the number of
    processes; each process takes its share in micro-batches of at most ``micro_batch``.

    Optimiser: ``lr`` is the peak rate at a batch of ``lr_batch`` (None: of the batch as it is),
    scaled to the batch linearly (Goyal et al., 2017, arXiv:1706.02677) or by the square root
    (Krizhevsky, 2014, arXiv:1404.5997). ``decay``: what weight decay acts on: "weights" of
    convolutions and linear layers, or "all". ``layer_decay``: each group of layers learns at so
    many times the rate of the one behind it (Clark et al., 2020, arXiv:2003.10555, section 3.2;
    BEiT). ``backbone_lr``: the rate of all but the head as a share of the head's.

    Schedule: linear warm-up from ``warmup_from`` (a share of the peak) over ``warmup``, then
    constant; "step": times ``step_factor`` every ``step_every`` or at each of ``step_at``; "cosine"
    to ``final_lr``, a share of the peak (Loshchilov and Hutter, 2016); "onecycle": a cosine up over
    ``warmup`` and a cosine down (Smith, 2018, arXiv:1803.09820), momentum the other way round.

    Regularisation: ``label_smoothing`` (Szegedy et al., 2015); ``mixup`` and ``cutmix``: alpha of
    their Beta distributions, applied to a step with probability ``mix_prob``, CutMix with
    ``mix_switch`` where both are on; ``class_weights``: loss weights by inverse frequency;
    ``sam_rho``: sharpness-aware minimisation (Foret et al., 2020, arXiv:2010.01412);
    ``clip_norm``: the global gradient norm at most. ``ema_decay``: keep an average of the weights,
    taken every ``ema_every`` steps, and judge by it.

    Fine-tuning: ``head_first``: so long only the head learns; ``freeze``: patterns of parameter
    names that never learn; ``frozen_norm``: batch norm keeps its statistics and its weights.
    ``patience``: stop when validation has not improved for so many epochs.

    ``checkpointing``: forget what blocks computed and compute it again. ``shard``: divide weights,
    gradients and optimiser state between the processes (FSDP2).

    ``precision``, ``channels_last``, ``compile``, ``frozen_norm``, ``device`` and ``threads`` None:
    a fixed rule of machine and network, or what ``--tune`` measured. ``workers`` changes speed
    only, never numbers.
    """

    duration: DurationField = Duration(30)
    batch_size: int = Field(64, ge=1)
    micro_batch: int | None = Field(None, ge=1)

    optimizer: Literal["sgd", "adam", "adamw", "lion", "lamb"] = "sgd"
    lr: float = Field(0.1, gt=0)
    lr_batch: int | None = Field(None, ge=1)
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    eps: float | None = Field(None, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    decay: Literal["weights", "all"] = "weights"
    layer_decay: float | None = Field(None, gt=0, le=1)
    backbone_lr: float = Field(1.0, gt=0, le=1)

    schedule: Literal["constant", "step", "cosine", "onecycle"] = "cosine"
    warmup: DurationField = Duration(2)
    warmup_from: _Probability = 0.0
    step_every: DurationField | None = None
    step_at: tuple[DurationField, ...] = ()
    step_factor: float = Field(0.1, gt=0, lt=1)
    final_lr: _Probability = 0.0

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    mix_prob: _Probability = 1.0
    mix_switch: _Probability = 0.5
    class_weights: Literal["none", "balanced"] = "none"
    sam_rho: float | None = Field(None, gt=0)
    clip_norm: float | None = Field(None, gt=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    ema_every: int = Field(1, ge=1)

    head_first: DurationField = Duration(0)
    freeze: tuple[str, ...] = ()
    frozen_norm: bool | None = None
    sync_norm: bool | None = None
    patience: int | None = Field(None, ge=1)
    distill: DistillSection = DistillSection()

    checkpointing: bool = False
    shard: bool = False
    precision: Literal["fp32", "bf16", "fp16", "fp64"] | None = None
    channels_last: bool | None = None
    compile: bool | None = None
    device: str | None = None
    threads: int | None = Field(None, ge=1)
    workers: int | None = Field(None, ge=0)

    @field_validator("duration")
    @classmethod
    def _some_time(cls, duration: Duration) -> Duration:
        if duration.value == 0:
            raise ValueError("Input should be a duration above zero")
        return duration

    @model_validator(mode="after")
    def _fields_that_need_each_other(self) -> TrainSection:
        if self.schedule == "step" and self.step_every is None and not self.step_at:
            raise ValueError("train.schedule 'step' needs train.step_every or train.step_at")
        if self.step_every is not None and self.step_every.value == 0:
            raise ValueError("train.step_every is above zero")
        if self.lr_scaling != "none" and self.lr_batch is None:
            raise ValueError("train.lr_scaling needs train.lr_batch, the batch that lr is for")
        return self
