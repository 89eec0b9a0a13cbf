"""What the fraud model takes and returns; serving validates every request by it."""

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind

MERCHANT_CATEGORIES = (
    "clothing",
    "electronics",
    "entertainment",
    "fuel",
    "gift_cards",
    "groceries",
    "health",
    "home",
    "restaurants",
    "travel",
)

TARGET = "is_fraud"

CONTRACT = Contract(
    description="Probability that a card transaction is fraudulent.",
    features=(
        Feature(
            name="amount",
            type=FeatureType.NUMBER,
            description="Amount of the transaction.",
            unit="USD",
            minimum=0,
            maximum=100_000,
        ),
        Feature(
            name="merchant_category",
            type=FeatureType.CATEGORY,
            description="What the merchant sells.",
            categories=MERCHANT_CATEGORIES,
        ),
        Feature(
            name="hour",
            type=FeatureType.INTEGER,
            description="Hour of the day at the merchant.",
            unit="h",
            minimum=0,
            maximum=23,
        ),
    ),
    output=Output(
        name="probability",
        kind=OutputKind.PROBABILITY,
        description="Probability that the transaction is fraudulent.",
    ),
    example={"amount": 500, "merchant_category": "electronics", "hour": 23},
    inference_timeout_s=1.0,
)
