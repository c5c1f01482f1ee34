"""FastAPI and plain torch: `python fastapi_server.py BUNDLE PORT`."""

import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from plain_model import PlainModel
from pydantic import BaseModel

app = FastAPI()
model = PlainModel(Path(sys.argv[1]))


class Request(BaseModel):
    userId: str
    numResults: int | None = None
    candidates: list[str] | None = None


@app.get("/ping")
def ping() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/invocations")
def invocations(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = model.answer(request.model_dump(exclude_none=True))
    return found


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
