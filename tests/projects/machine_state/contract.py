"""What the model takes: a measurement of one machine. What it returns: how the machine fares."""

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind

SITES = ("north", "south")

CONTRACT = Contract(
    description="State of a machine, from its last measurement.",
    features=(
        Feature(name="temperature", type=FeatureType.NUMBER, unit="°C", minimum=-40, maximum=200),
        Feature(name="vibration", type=FeatureType.NUMBER, unit="mm/s", minimum=0),
        Feature(name="starts", type=FeatureType.INTEGER, minimum=0),
        Feature(name="indoors", type=FeatureType.BOOLEAN),
        Feature(name="site", type=FeatureType.CATEGORY, categories=SITES, allow_unknown=True),
    ),
    output=Output(
        name="state",
        kind=OutputKind.CLASS_PROBABILITIES,
        classes=("well", "worn", "broken"),
        description="Probability of each state.",
    ),
    example={
        "temperature": 71.5,
        "vibration": 2.25,
        "starts": 12,
        "indoors": True,
        "site": "north",
    },
)
