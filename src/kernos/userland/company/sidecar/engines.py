"""The tables of engines."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kernos.userland.company.sidecar.sections import Section


class Price(Section):
    """What an engine costs, in any one currency, for a million tokens."""

    prompt: float = Field(0.0, ge=0, strict=False, description="tokens that it has to read")
    cached: float = Field(0.0, ge=0, strict=False, description="tokens that it has read before")
    completion: float = Field(0.0, ge=0, strict=False, description="tokens that it writes")


class EmbeddedEngine(Section):
    """llama.cpp on this machine, in a child process."""

    driver: Literal["embedded"] = "embedded"
    model: str = Field("default", description="a name from `kernos model list`, or the path of a .gguf file")
    context: int = Field(8192, ge=512, description="tokens of context of one slot")
    slots: int = Field(1, ge=1, description="calls decoded at once")
    threads: int = Field(0, ge=0, description="CPU threads; 0: one for each core")
    port: int = Field(0, ge=0, le=65535, description="a fixed port; 0: any free one")
    listen: str = Field("127.0.0.1", description="its address; another than loopback lets other workers use it")
    key_env: str = Field("", description="the environment variable of the key that it asks for; empty: one of its own")
    role: ClassVar[str] = ""
    """None: a call that gives way is gone on with in the slot where its context is, and no other engine has that."""
    price: Price = Price()


class OpenAIEngine(Section):
    """Any OpenAI-compatible server."""

    driver: Literal["openai"]
    url: str = Field(description="the base URL, up to and with /v1")
    model: str = Field("", description="the server's name for the model; empty: the first that it lists")
    key_env: str = Field("", description="the environment variable that holds the API key")
    calls: Literal["auto", "native", "grammar"] = Field("auto", description="how tools are used")
    context: int = Field(8192, ge=512, description="tokens of context")
    slots: int = Field(4, ge=1, description="calls at once")
    embeddings: bool = Field(False, description="whether it makes vectors of texts (POST /embeddings)")
    hints: Literal["", "openai", "vllm", "sglang"] = Field(
        "", description="the server's kind, where it takes priorities and cache hints"
    )
    role: str = Field("", description="engines of one role stand in for each other; empty: it stands alone")
    price: Price = Price()


class ScriptedEngine(Section):
    """Plays actions from a JSON file: for tests and demonstrations."""

    driver: Literal["scripted"]
    script: str = Field(description='a JSON list of {"name": ..., "arguments": {...}}, from the folder')
    context: int = Field(8192, ge=512, description="tokens of context")
    role: str = Field("", description="engines of one role stand in for each other; empty: it stands alone")
    price: Price = Price()


Engine = Annotated[EmbeddedEngine | OpenAIEngine | ScriptedEngine, Field(discriminator="driver")]
