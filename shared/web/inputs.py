"""What callers may send, as models that more than one function reads; the API's description is made from them too."""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import BaseModel, Field

Term = Annotated[str, Field(strict=True, pattern=r"^[0-9]{4}$", description="The university's code of a term.")]
ClassNbr = Annotated[str, Field(strict=True, pattern=r"^[0-9]{5}$", description="The section's number in its term.")]


class SectionBody(BaseModel):
    """One section."""

    term: Term
    class_nbr: ClassNbr


class WatchQuery(BaseModel):
    """Which watch."""

    id: Annotated[uuid.UUID, Field(description="The watch's id.")]


class GoQuery(BaseModel):
    """One section, as links in mail name it."""

    classNbr: ClassNbr  # noqa: N815 - the name in links that are already in inboxes
    term: Term


class TokenQuery(BaseModel):
    """The token of a link in a mail."""

    token: Annotated[str, Field(description="The signed token of the link.")] = ""
