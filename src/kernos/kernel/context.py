"""Contexts by reference: a model call names its messages by one hash, so that a journal grows by what is new.

A context is a chain: the hash of the empty context is `EMPTY`; each message makes a link, the bytes of the hash before
and of the message. Two calls that share a beginning share its links. `chain` finds what is new, `parts` reads a link.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernos.kernel.errors import BadInput
from kernos.kernel.types import EMPTY as EMPTY
from kernos.kernel.types import Message, digest, link


def chain(messages: Sequence[Message], known: set[str]) -> tuple[str, dict[str, bytes]]:
    """The head of a context and the contents not yet in `known`: its new messages and links, by hash."""
    head, fresh = EMPTY, dict[str, bytes]()
    for message in messages:
        if not isinstance(message, Message):
            raise BadInput("generate: messages", type(message).__name__, "kernos.Message")
        longer = link(head, message)
        head = digest(longer)
        if head not in known:
            fresh |= {message.digest: message.content, head: longer}
    return head, fresh


def parts(longer: bytes) -> tuple[str, str]:
    """The two hashes in a link: the context before, and the message."""
    return longer[:32].hex(), longer[32:].hex()
