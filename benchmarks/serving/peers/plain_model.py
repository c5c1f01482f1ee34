"""NeuMF served in the usual way: torch runs the network for every item of the request."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


class PlainModel:
    """Answers `{"userId", "numResults"?, "candidates"?}` from the weights and ids of a bundle in `directory`."""

    def __init__(self, directory: Path) -> None:
        torch.set_num_threads(1)
        self._users = {name: index for index, name in enumerate(json.loads((directory / "user_ids.json").read_text()))}
        self._ids = json.loads((directory / "item_ids.json").read_text())
        self._items = {name: index for index, name in enumerate(self._ids)}
        seen = load_file(directory / "seen.safetensors")
        self._indptr, self._seen = seen["indptr"], seen["indices"].long()
        self._w = load_file(directory / "weights.safetensors")
        self._layers = sum(name.startswith("towers.1.hidden.") and name.endswith("weight") for name in self._w)

    def _logits(self, user: int, items: torch.Tensor) -> torch.Tensor:
        w = self._w
        users = torch.full_like(items, user)
        product = w["towers.0.user.weight"][users] * w["towers.0.item.weight"][items]
        z = torch.cat([w["towers.1.user.weight"][users], w["towers.1.item.weight"][items]], dim=1)
        for layer in range(self._layers):
            name = f"towers.1.hidden.{layer}"
            z = torch.relu(torch.nn.functional.linear(z, w[f"{name}.weight"], w[f"{name}.bias"]))
        phi = torch.cat([product, z], dim=1)
        return torch.nn.functional.linear(phi, w["output.weight"], w["output.bias"]).squeeze(1)

    @torch.inference_mode()
    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        user = self._users[request["userId"]]
        if "candidates" in request:
            items = torch.tensor([self._items[item] for item in request["candidates"]])
            scores = self._logits(user, items)
        else:
            items = torch.arange(len(self._ids))
            scores = self._logits(user, items)
            scores[self._seen[self._indptr[user] : self._indptr[user + 1]]] = -torch.inf
        number = min(request.get("numResults", scores.numel()), scores.numel())
        best = torch.topk(torch.sigmoid(scores), number)
        return {
            "userId": request["userId"],
            "itemList": [
                {"itemId": self._ids[int(items[place])], "score": score}
                for place, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ],
        }
