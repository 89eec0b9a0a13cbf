"""What FastAPI alone costs: a typed row in, a constant out. `python fastapi_echo.py PORT`."""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Row(BaseModel):
    """One transaction."""

    amount: float
    merchant_category: str
    hour: int


@app.post("/predict")
async def predict(row: Row) -> dict[str, list[float]]:
    """Answer with what was sent."""
    return {"prediction": [row.amount]}


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
    )
