"""Models of open_clip that this project recommends: license, size, speed, published accuracy.

Read a license again before you rely on it: its owner may change it.
"""

from dataclasses import dataclass

MIT, APACHE = "MIT", "Apache-2.0"
APPLE = "apple-amlr"
"""Apple Machine Learning Research Model license: "does not include any commercial exploitation"."""
_BIG_VISION = "https://github.com/google-research/big_vision/blob/main/big_vision/configs/proj"
_PE_README = "https://github.com/facebookresearch/perception_models/blob/main/apps/pe/README.md"
_MOBILECLIP = "https://github.com/apple/ml-mobileclip/blob/main"


@dataclass(frozen=True)
class Source:
    """Where a figure was published: a short title, and the address of the page."""

    title: str
    address: str


_RESULTS = Source(
    "open_clip", "https://github.com/mlfoundations/open_clip/blob/main/docs/openclip_results.csv"
)
_SIGLIP2 = Source("SigLIP 2", f"{_BIG_VISION}/image_text/README_siglip2.md")
_PE = Source("PE", _PE_README)
_MOBILECLIP2 = Source("MobileCLIP2", f"{_MOBILECLIP}/README.md")


@dataclass(frozen=True)
class Recommended:
    """A model and its published facts.

    Args:
        name: open_clip's NAME/TAG.
        license: the license of the weights.
        license_source: the address of the license, or of the page that states it.
        commercial: True if that license allows commercial use.
        megabytes: size of the weights in float32, in units of 10^6 bytes.
        speed: photos per second relative to ViT-B-16, on a CPU in float32
            (`benchmarks/model_speed.py`).
        imagenet: published zero-shot accuracy on ImageNet, in percent.
        source: where the accuracy was published.
    """

    name: str
    license: str
    license_source: str
    commercial: bool
    megabytes: int
    speed: float
    imagenet: float
    source: Source


DEFAULT = "ViT-B-16/datacomp_xl_s13b_b90k"
"""The model of a new library when none is named: MIT, and its tokenizer needs no download."""

RECOMMENDED = (
    Recommended(
        name=DEFAULT,
        license=MIT,
        license_source="https://huggingface.co/laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
        commercial=True,
        megabytes=598,
        speed=1.0,
        imagenet=73.5,
        source=_RESULTS,
    ),
    Recommended(
        name="ViT-B-16/openai",
        license=MIT,
        license_source="https://github.com/openai/CLIP/blob/main/LICENSE",
        commercial=True,
        megabytes=598,
        speed=1.0,
        imagenet=68.3,
        source=_RESULTS,
    ),
    Recommended(
        name="ViT-B-16-SigLIP2-256/webli",
        license=APACHE,
        license_source="https://huggingface.co/google/siglip2-base-patch16-256",
        commercial=True,
        megabytes=1_501,
        speed=0.74,
        imagenet=79.1,
        source=_SIGLIP2,
    ),
    Recommended(
        name="PE-Core-B-16/meta",
        license=APACHE,
        license_source=_PE_README,
        commercial=True,
        megabytes=1_791,
        speed=0.89,
        imagenet=78.4,
        source=_PE,
    ),
    Recommended(
        name="ViT-B-16/dfn2b",
        license=APPLE,
        license_source="https://huggingface.co/apple/DFN2B-CLIP-ViT-B-16",
        commercial=False,
        megabytes=598,
        speed=1.0,
        imagenet=76.2,
        source=_RESULTS,
    ),
    Recommended(
        name="MobileCLIP2-S2/dfndr2b",
        license=APPLE,
        license_source=f"{_MOBILECLIP}/LICENSE_MODELS",
        commercial=False,
        megabytes=397,
        speed=1.04,
        imagenet=77.2,
        source=_MOBILECLIP2,
    ),
)


def find_recommended(name: str) -> Recommended | None:
    """Return the entry of a model, or None."""
    return next((model for model in RECOMMENDED if model.name == name), None)
