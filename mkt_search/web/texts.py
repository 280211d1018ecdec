"""Texts and numbers that a request may have."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mkt_search.settings.setting import LARGEST

MAX_TEXT = 1_000  # characters of a query, a label or a filter
WITHOUT_NUL = r"^[^\x00]*$"  # which no database takes

Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=WITHOUT_NUL)]
Label = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=WITHOUT_NUL)]
PhotoId = Annotated[int, Field(ge=1, le=LARGEST)]
RunId = Annotated[int, Field(ge=1, le=LARGEST)]


class Body(BaseModel):
    """The body of a request: a number is a number, and "1" or true is none."""

    model_config = ConfigDict(strict=True)
