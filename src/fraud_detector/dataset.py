"""The demo dataset: 200,000 card transactions whose fraud process is known.

The process, for a transaction with `amount`, `merchant_category` c and `hour` h:

    odds = BASE_ODDS * category_odds[c] * hour_odds[h] * (1 + (amount / typical[c])**2)
           [* NIGHT_GOODS_ODDS for electronics and gift cards from 22 to 5 o'clock]
    P(fraud) = odds / (1 + odds)

No model can rank better than this probability itself; `fraud_probability` gives it, so that a
run can report how near it comes to the best reachable score.

Every step is integer arithmetic or a single correctly rounded IEEE-754 operation (no exp, log or
pow, whose last bit differs between CPUs), so that the same code and locked packages write the
same bytes, and the md5 in `data/transactions.parquet.dvc`, on every machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fraud_detector.contract import MERCHANT_CATEGORIES, TARGET
from modelyard.errors import DataError
from modelyard.training.data.split import by_hash
from modelyard.training.project import Split

ROWS = 200_000
SEED = 20_260_101
FIRST_SECOND = 1_735_689_600  # 2025-01-01T00:00:00Z
DAYS = 365

BASE_ODDS = 0.005
NIGHT_GOODS_ODDS = 6.0
NIGHT_HOURS = (22, 23, 0, 1, 2, 3, 4, 5)
NIGHT_GOODS = ("electronics", "gift_cards")

# One row a category: share of the transactions, typical amount in USD, odds of fraud.
_CATEGORIES: dict[str, tuple[int, int, float]] = {
    "clothing": (100, 60, 1.0),
    "electronics": (80, 150, 3.0),
    "entertainment": (80, 40, 1.0),
    "fuel": (140, 45, 0.5),
    "gift_cards": (30, 75, 6.0),
    "groceries": (250, 55, 0.25),
    "health": (70, 50, 0.5),
    "home": (60, 110, 1.0),
    "restaurants": (150, 35, 0.5),
    "travel": (40, 400, 2.0),
}
# Share of the transactions in each hour, and the odds of fraud there.
_HOUR_SHARE = (
    6,
    4,
    3,
    2,
    2,
    4,
    12,
    25,
    38,
    45,
    50,
    58,
    66,
    60,
    55,
    54,
    58,
    66,
    70,
    64,
    52,
    38,
    24,
    12,
)
_HOUR_ODDS = (3, 4, 5, 5, 4, 3, 1.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1.5, 2, 3)
# Amount relative to the typical one, in percent, at these points of the cumulative distribution.
_AMOUNT_POINT = (
    0,
    50_000,
    200_000,
    400_000,
    600_000,
    750_000,
    870_000,
    960_000,
    993_000,
    1_000_000,
)
_AMOUNT_PERCENT = (2, 12, 30, 60, 95, 140, 210, 380, 800, 2_500)


def generate(path: Path, rows: int = ROWS, seed: int = SEED) -> None:
    """Write the demo dataset to `path` as Parquet: the same bytes for the same arguments."""
    pq.write_table(
        _transactions(rows, seed),
        path,
        compression="zstd",
        compression_level=9,
        data_page_version="1.0",
        version="2.6",
        store_schema=False,
    )


def load(path: Path) -> pl.DataFrame:
    """The transactions in the Parquet file at `path`.

    Raises:
        DataError: not a Parquet file. What it holds is checked by the platform.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}.") from error


def split(data: pl.DataFrame) -> Split:
    """70 % to train, 15 % to validate, 15 % to test, by a hash of `transaction_id`.

    A transaction stays in its part when others are added.
    """
    return by_hash(data, "transaction_id", shares=(0.70, 0.15, 0.15))


def fraud_probability(data: pl.DataFrame) -> np.ndarray:
    """The true P(fraud) of each transaction, float64 [n]: the best score that can be reached."""
    code = data["merchant_category"].replace_strict(
        {name: index for index, name in enumerate(MERCHANT_CATEGORIES)}, return_dtype=pl.Int64
    )
    return _probability(data["amount"].to_numpy(), code.to_numpy(), data["hour"].to_numpy())


def _transactions(rows: int, seed: int) -> pa.Table:
    random = np.random.Generator(np.random.PCG64(seed))
    category = _weighted(random, [_CATEGORIES[name][0] for name in MERCHANT_CATEGORIES], rows)
    hour = _weighted(random, _HOUR_SHARE, rows)
    amount = _amount_cents(random, category) / 100
    is_fraud = random.random(rows) < _probability(amount, category, hour)
    day = np.arange(rows, dtype=np.int64) * DAYS // rows
    second = FIRST_SECOND + day * 86_400 + hour * 3_600 + random.integers(0, 3_600, rows)
    order = np.argsort(second, kind="stable")
    names = np.array(MERCHANT_CATEGORIES)
    return pa.table(
        {
            "transaction_id": pa.array(np.arange(1, rows + 1, dtype=np.int64)),
            "timestamp": pa.array(second[order] * 1_000, type=pa.timestamp("ms", tz="UTC")),
            "amount": pa.array(amount[order]),
            "merchant_category": pa.array(names[category[order]].tolist(), type=pa.string()),
            "hour": pa.array(hour[order]),
            TARGET: pa.array(is_fraud[order].astype(np.int64)),
        }
    )


def _weighted(
    random: np.random.Generator, weights: list[int] | tuple[int, ...], rows: int
) -> np.ndarray:
    """Indices 0…len(weights)-1 drawn with integer weights, int64 [rows]."""
    edges = np.cumsum(np.asarray(weights, dtype=np.int64))
    drawn: np.ndarray = np.searchsorted(edges, random.integers(0, int(edges[-1]), rows), "right")
    return drawn.astype(np.int64)


def _amount_cents(random: np.random.Generator, category: np.ndarray) -> np.ndarray:
    """Amounts in whole cents, int64: the quantile table, interpolated in integers."""
    point = np.asarray(_AMOUNT_POINT, dtype=np.int64)
    percent = np.asarray(_AMOUNT_PERCENT, dtype=np.int64)
    typical = np.asarray([_CATEGORIES[name][1] for name in MERCHANT_CATEGORIES], dtype=np.int64)
    draw = random.integers(0, _AMOUNT_POINT[-1], len(category))
    low = np.searchsorted(point, draw, side="right") - 1
    width, height = point[low + 1] - point[low], percent[low + 1] - percent[low]
    # hundredths of a percent keep the interpolation smooth
    hundredths = percent[low] * 100 + height * 100 * (draw - point[low]) // width
    cents: np.ndarray = np.maximum(typical[category] * hundredths // 100, 50)
    return cents


def _probability(amount: np.ndarray, category: np.ndarray, hour: np.ndarray) -> np.ndarray:
    typical = np.asarray([float(_CATEGORIES[name][1]) for name in MERCHANT_CATEGORIES])
    category_odds = np.asarray([_CATEGORIES[name][2] for name in MERCHANT_CATEGORIES])
    hour_odds = np.asarray(_HOUR_ODDS, dtype=np.float64)
    goods = np.isin(category, [MERCHANT_CATEGORIES.index(name) for name in NIGHT_GOODS])
    night = np.isin(hour, NIGHT_HOURS)
    relative = amount / typical[category]
    odds = BASE_ODDS * category_odds[category] * hour_odds[hour] * (1.0 + relative * relative)
    odds = np.where(goods & night, odds * NIGHT_GOODS_ODDS, odds)
    probability: np.ndarray = odds / (1.0 + odds)
    return probability
