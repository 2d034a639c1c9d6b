"""What comes before any network: is a vision backbone the right tool at all?

The gates are tried in order and the first that closes is the answer. Each is a rule of thumb with
its source and its doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vertebra.report.words import count, percent, plural

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement

# Rows up to which boosted trees are taught for tables.
MOST_ROWS = 1_000_000
# Images below which a network without pretrained weights is taught to memorise; and texts.
FEW_IMAGES, FEW_TEXTS = 10_000, 1_000
# Images that are a handful, whatever weights there are.
HANDFUL = 1_000
TAUGHT = "commonly taught"


@dataclass(frozen=True)
class Gate:
    """What should be tried before a vision backbone.

    Attributes:
        rule: stable code.
        kind: the tool, in a few words.
        says: why, with the numbers of the requirement.
        instead: what to do.
        stop: True: a backbone answers another question than this one, or none is needed. False:
            one is worth comparing afterwards, with this as what it has to beat.
        source: who says so.
        doubt: what speaks against it.
    """

    rule: str
    kind: str
    says: str
    instead: str
    stop: bool
    source: str
    doubt: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def gate(requirement: Requirement) -> Gate | None:
    """The first gate that closes; None: a backbone it is."""
    for tried in _GATES:
        found = tried(requirement)
        if found is not None:
            return found
    return None


def _enough(requirement: Requirement) -> Gate | None:
    reached, wanted = requirement.baseline_accuracy, requirement.min_accuracy
    if reached is None or wanted is None or reached < wanted:
        return None
    return Gate(
        rule="gate.baseline-is-enough",
        kind="the baseline is enough",
        says=f"the classical baseline reaches {percent(reached, 1)} where {percent(wanted, 1)} "
        f"are asked for",
        instead="ship the baseline, and keep it as what any network has to beat",
        stop=True,
        source=TAUGHT,
        doubt="a figure that was measured on the images the baseline was chosen by is too high; "
        "measure it once on images held out",
    )


def _table(requirement: Requirement) -> Gate | None:
    if requirement.kind != "table":
        return None
    rows = requirement.images
    if rows is None or rows <= MOST_ROWS:
        return Gate(
            rule="gate.table",
            kind="gradient boosting",
            says=f"{_counted(rows, 'row')} of a table, and up to {count(MOST_ROWS)} boosted trees "
            f"are ahead in accuracy, time and explanation",
            instead="scikit-learn's HistGradientBoostingClassifier, LightGBM, XGBoost or CatBoost",
            stop=True,
            source=f"{TAUGHT}; Grinsztajn et al., 2022 (arXiv:2207.08815)",
            doubt="networks win on some tables, and the difference is often below that of "
            "tuning (McElfresh et al., 2023, arXiv:2305.02997)",
        )
    return Gate(
        rule="gate.large-table",
        kind="a tabular network beside gradient boosting",
        says=f"{_counted(rows, 'row')} of a table: so many may pay for a network, but not for a "
        f"vision backbone, whose weight sharing needs neighbours",
        instead="a multilayer perceptron with embeddings of the categories, beside boosted trees",
        stop=True,
        source=f"{TAUGHT}; Gorishniy et al., 2021 (arXiv:2106.11959)",
        doubt=f"the boundary of {count(MOST_ROWS)} rows is taught and not measured: boosted trees "
        f"hold beyond it on many tables",
    )


def _text(requirement: Requirement) -> Gate | None:
    samples = requirement.images
    if requirement.kind != "text" or requirement.pretrained:
        return None
    if samples is None or samples >= FEW_TEXTS:
        return None
    return Gate(
        rule="gate.few-texts",
        kind="classical: word counts and a linear model",
        says=f"{_counted(samples, 'text')} without pretrained weights: under {count(FEW_TEXTS)} a "
        f"network memorises them",
        instead="scikit-learn's TfidfVectorizer and LogisticRegression",
        stop=True,
        source=TAUGHT,
        doubt="with pretrained weights, which are free for text, a few hundred texts are enough",
    )


def _tokens(requirement: Requirement) -> Gate | None:
    if requirement.kind not in ("text", "audio"):
        return None
    doubt = "for a few thousand short texts word counts and a linear model are close and free"
    if requirement.kind == "audio":
        doubt = (
            "a spectrogram is an image, and vision backbones classify those well (Gong et al., "
            "2021, arXiv:2104.01778, starts from a ViT's weights): compare them with kind='images'"
        )
    return Gate(
        rule="gate.text-and-audio",
        kind="transformer",
        says=f"{requirement.kind} belongs to transformers: any distance in one step, all positions "
        f"at once",
        instead="a pretrained encoder and a new head",
        stop=True,
        source=f"{TAUGHT}; Vaswani et al., 2017 (arXiv:1706.03762)",
        doubt=doubt,
    )


def _sequence(requirement: Requirement) -> Gate | None:
    if requirement.kind != "sequence":
        return None
    return Gate(
        rule="gate.sequence",
        kind="recurrent (LSTM or GRU)",
        says="short sequences, where each step costs the same and little is kept, belong to "
        "recurrent networks",
        instead="a GRU or an LSTM of one direction; both directions need the whole sequence first",
        stop=True,
        source=f"{TAUGHT}; Cho et al., 2014 (arXiv:1406.1078)",
        doubt="convolutions over time are as good on many such tasks and run in parallel (Bai et "
        "al., 2018, arXiv:1803.01271)",
    )


def _graph(requirement: Requirement) -> Gate | None:
    if requirement.kind != "graph":
        return None
    return Gate(
        rule="gate.graph",
        kind="graph network",
        says="what is known lies in the edges, which a backbone for images cannot see",
        instead="a graph convolution or graph attention network (PyTorch Geometric)",
        stop=True,
        source=f"{TAUGHT}; Kipf and Welling, 2016 (arXiv:1609.02907)",
        doubt="boosted trees on features of the neighbourhood are a strong baseline",
    )


def _video(requirement: Requirement) -> Gate | None:
    if requirement.kind != "video":
        return None
    return Gate(
        rule="gate.video",
        kind="video: out of scope",
        says="what tells videos apart may lie between the frames, and nothing here looks there",
        instead="a video network; or, where single frames tell, choose for kind='images'",
        stop=True,
        source="this workbench builds backbones for still images",
        doubt="many actions are told by one frame, and averaged answers of frames are then a fair "
        "baseline",
    )


def _interpretable(requirement: Requirement) -> Gate | None:
    if not requirement.interpretable:
        return None
    return Gate(
        rule="gate.interpretable",
        kind="classical, with exact attributions",
        says="every answer must be explained: attributions of trees are exact, those of a network "
        "are estimates that differ between methods",
        instead="features with a meaning (sizes, colours, gradients), and boosted trees with SHAP "
        "values or a linear model",
        stop=True,
        source=f"{TAUGHT}; Lundberg et al., 2018 (arXiv:1802.03888); Rudin, 2018 "
        f"(arXiv:1811.10154)",
        doubt="of images the features themselves may mean little to those who ask, and an exact "
        "attribution to a gradient histogram explains nothing to them",
    )


def _few_images(requirement: Requirement) -> Gate | None:
    images = requirement.images
    if images is None or requirement.pretrained or images >= FEW_IMAGES:
        return None
    return Gate(
        rule="gate.few-images",
        kind="classical baseline first",
        says=f"{_counted(images, 'image')} without pretrained weights: under "
        f"{count(FEW_IMAGES)} a network is said to memorise them",
        instead="gradient histograms and colours with a linear model or an SVM; then compare a "
        "small network with strong augmentation",
        stop=False,
        source=TAUGHT,
        doubt="it hangs on how hard the images are: here ResNet-20 errs on 3.8 % of digits after "
        "200 images (docs/recipes.md), and small networks hold their own on scarce data (Brigato "
        "and Iocchi, 2020, arXiv:2003.12843)",
    )


def _handful(requirement: Requirement) -> Gate | None:
    images = requirement.images
    if images is None or images >= HANDFUL:
        return None
    return Gate(
        rule="gate.handful",
        kind="classical: a linear model on pretrained features",
        says=f"{_counted(images, 'image')} are a handful: a linear model on the features of "
        f"a pretrained network has little to overfit with, and cross-validates in seconds",
        instead="probe the candidates' features; fine-tune the best one and see whether it gains",
        stop=False,
        source="Kornblith et al., 2018 (arXiv:1805.08974): with 47 to 800 images in all",
        doubt=f"no number is taught for a handful; {count(HANDFUL)} is this workbench's. With care "
        f"fine-tuning is ahead there too (Kolesnikov et al., 2019, arXiv:1912.11370)",
    )


def _counted(number: int | None, noun: str) -> str:
    return f"some {noun}s" if number is None else plural(number, noun)


# What data it is comes first, then what is enough, then how little there is of it.
_GATES: tuple[Callable[[Requirement], Gate | None], ...] = (
    _table,
    _text,
    _tokens,
    _sequence,
    _graph,
    _video,
    _enough,
    _interpretable,
    _few_images,
    _handful,
)
