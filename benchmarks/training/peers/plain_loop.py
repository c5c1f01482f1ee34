"""NeuMF in the most common form: torch's Dataset and DataLoader over (user, item, label) triples in Python lists.

A Python loop draws new negatives in each epoch, and repeats a draw that is in the set of positives. A run may be
shorter than an epoch: a part draws negatives, shuffles and trains with some of the positives, as an epoch does with
all of them. Lists of numbers, a set and random.randrange are the usual choice; a Dataset over NumPy arrays is faster
with large batches, and one over tensors is slower.
"""

import random
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import torch
from measurement import LEARNING_RATE, SEED, Pairs, Part, batches_of_positives, measure, parse_arguments
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Triples(Dataset[tuple[int, int, float]]):
    """Positives with label 1, and `negatives` negatives with label 0 for each positive."""

    def __init__(
        self, positives: Any, known: set[tuple[int, int]], items: int, negatives: int, draw: random.Random
    ) -> None:
        self.triples = []
        for user, item in positives:
            self.triples.append((user, item, 1.0))
            for _ in range(negatives):
                negative = draw.randrange(items)
                while (user, negative) in known:
                    negative = draw.randrange(items)
                self.triples.append((user, negative, 0.0))

    def __len__(self) -> int:
        return len(self.triples)

    def __getitem__(self, index: int) -> tuple[int, int, float]:
        return self.triples[index]


class NeuMF(nn.Module):
    """GMF and an MLP over the concatenated embeddings, each with its own embeddings, fused in the last layer."""

    def __init__(self, users: int, items: int, factors: int, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.gmf_user = nn.Embedding(users, factors)
        self.gmf_item = nn.Embedding(items, factors)
        self.mlp_user = nn.Embedding(users, layers[0] // 2)
        self.mlp_item = nn.Embedding(items, layers[0] // 2)
        self.mlp = nn.Sequential()
        for above, below in pairwise(layers):
            self.mlp.extend([nn.Linear(above, below), nn.ReLU()])
        self.output = nn.Linear(factors + layers[-1], 1)
        for embedding in (self.gmf_user, self.gmf_item, self.mlp_user, self.mlp_item):
            nn.init.normal_(embedding.weight, std=0.01)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        gmf = self.gmf_user(user) * self.gmf_item(item)  # [batch, factors]
        mlp = self.mlp(torch.cat([self.mlp_user(user), self.mlp_item(item)], dim=-1))  # [batch, layers[-1]]
        found: Tensor = self.output(torch.cat([gmf, mlp], dim=-1)).squeeze(-1)  # [batch]
        return found


def endless(pairs: Pairs, draw: random.Random) -> Iterator[Any]:
    """Yield every positive, in a new order in each epoch, without end."""
    positives = list(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    while True:
        draw.shuffle(positives)
        yield from positives


def main() -> None:
    arguments = parse_arguments(__doc__)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    draw = random.Random(SEED)
    pairs = arguments.data
    known = set(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    positives = endless(pairs, draw)
    positives_per_part = arguments.batch * batches_of_positives(arguments.batch)
    model = NeuMF(pairs.users, pairs.items, arguments.factors, arguments.layers)
    loss_of = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def train_part() -> Part:
        triples = Triples(islice(positives, positives_per_part), known, pairs.items, arguments.negatives, draw)
        losses = []
        for user, item, label in DataLoader(triples, batch_size=arguments.batch, shuffle=True, num_workers=0):
            optimizer.zero_grad()
            loss = loss_of(model(user, item), label.float())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return Part(len(triples), sum(losses) / len(losses))

    measure(train_part, arguments.seconds, peer="plain loop", version=torch.__version__, batch=arguments.batch)


if __name__ == "__main__":
    main()
