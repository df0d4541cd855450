"""Tables of results as pandas data frames, each column of the type that it says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


def _number(value: object) -> float:
    return float(str(value))


def data_frame(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    *,
    whole: Collection[str],
    texts: Collection[str],
    number: Callable[[object], float] = _number,
) -> DataFrame:
    """Return a frame of rows, in which None, "" and what a row lacks are no value.

    Args:
        columns: in their order.
        rows: column -> value, or the value's text.
        whole: columns of whole numbers: Int64, which may have gaps.
        texts: columns of text, "" where there is no value; the others are float64, NaN where there is none.
        number: makes a float of a value.
    """
    import pandas as pd

    series: dict[str, Any] = {}
    for name in columns:
        values = [None if (value := row.get(name)) == "" else value for row in rows]
        if name in whole:
            series[name] = pd.array([None if value is None else int(str(value)) for value in values], dtype="Int64")
        elif name in texts:
            series[name] = pd.Series(["" if value is None else str(value) for value in values], dtype=object)
        else:
            numbers = [float("nan") if value is None else number(value) for value in values]
            series[name] = pd.Series(numbers, dtype="float64")
    return pd.DataFrame(series, columns=list(columns))
