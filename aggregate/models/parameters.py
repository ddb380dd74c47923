"""Ranges that the values of model parameters must keep; `registry` checks what a configuration gives."""

from typing import Annotated, Literal

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positives = Annotated[tuple[Positive, ...], Field(min_length=1)]
ClassWeight = Literal["balanced", "none"]
StatisticName = Literal["mean", "max", "std", "q25", "median", "q75"]
