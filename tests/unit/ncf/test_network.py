import math
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from ncf.network import Architecture, Recommender, without_values

ARCHITECTURES = [
    Architecture("gmf", 4, (8, 4, 2)),
    Architecture("mlp", 4, (8, 4, 2)),
    Architecture("mlp", 4, (8,)),
    Architecture("neumf", 4, (8, 4, 2)),
]


def made(architecture: Architecture, users: int = 5, items: int = 7, scale: float = 5.0) -> Recommender:
    model = Recommender(architecture, users, items)
    model.reset_parameters(torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def test_gmf_is_the_weighted_product_of_the_embeddings() -> None:
    model: Any = Recommender(Architecture("gmf", 2, (2,)), 1, 1)
    with torch.no_grad():
        model.towers[0].user.weight.copy_(torch.tensor([[2.0, 3.0]]))
        model.towers[0].item.weight.copy_(torch.tensor([[5.0, 7.0]]))
        model.output.weight.copy_(torch.tensor([[1.0, 10.0]]))
        model.output.bias.fill_(0.5)
    assert model(torch.tensor([0]), torch.tensor([0])).item() == 2 * 5 + 10 * 3 * 7 + 0.5


def test_mlp_concatenates_and_rectifies() -> None:
    model: Any = Recommender(Architecture("mlp", 1, (2, 2)), 1, 1)
    with torch.no_grad():
        model.towers[0].user.weight.fill_(2.0)
        model.towers[0].item.weight.fill_(3.0)
        model.towers[0].hidden[0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        model.towers[0].hidden[0].bias.fill_(0.25)
        model.output.weight.copy_(torch.tensor([[1.0, 100.0]]))
        model.output.bias.zero_()
    # [2 + 3 + ¼, 2 - 3 + ¼] rectified is [5¼, 0].
    assert model(torch.tensor([0]), torch.tensor([0])).item() == 5.25


def test_neumf_is_the_sum_of_its_towers() -> None:
    neumf, gmf, mlp = (Recommender(Architecture(name, 2, (4, 2)), 3, 4) for name in ("neumf", "gmf", "mlp"))
    neumf.reset_parameters(torch.Generator().manual_seed(2))
    gmf.towers[0].load_state_dict(neumf.towers[0].state_dict())
    mlp.towers[0].load_state_dict(neumf.towers[1].state_dict())
    with torch.no_grad():
        gmf.output.weight.copy_(neumf.output.weight[:, :2])
        mlp.output.weight.copy_(neumf.output.weight[:, 2:])
        gmf.output.bias.copy_(neumf.output.bias)
        mlp.output.bias.zero_()
    users, items = torch.tensor([0, 1, 2]), torch.tensor([3, 0, 1])
    torch.testing.assert_close(neumf(users, items), gmf(users, items) + mlp(users, items))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_the_catalogue_has_the_logits_of_its_pairs(architecture: Architecture) -> None:
    model = made(architecture)
    users = torch.tensor([4, 0, 2])
    pairs = model(users[:, None].expand(3, 7), torch.arange(7).expand(3, 7))
    torch.testing.assert_close(model.catalogue(users), pairs)
    assert pairs.std() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_a_grid_has_the_logits_of_its_pairs(architecture: Architecture) -> None:
    model = made(architecture)
    users, items = torch.tensor([4, 0, 2]), torch.tensor([6, 1])
    pairs = model(users[:, None].expand(3, 2), items.expand(3, 2))
    torch.testing.assert_close(model.grid(users, items), pairs)
    torch.testing.assert_close(model.pairs(users, items.expand(3, 2)), pairs)
    many = torch.arange(7).repeat(2).expand(3, 14)
    torch.testing.assert_close(model.pairs(users, many), model(users[:, None].expand(3, 14), many))


@pytest.mark.parametrize("layers", [(8, 4), (8,), (8, 4, 2)])
def test_a_grid_has_the_gradients_of_its_pairs(layers: tuple[int, ...]) -> None:
    """With one hidden layer, the backward pass of a grid is written out."""
    model = made(Architecture("neumf", 4, layers))
    users, items = torch.tensor([4, 0, 2]), torch.tensor([6, 1])
    weight = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1]])
    found = []
    for logits in (model.grid(users, items), model(users[:, None].expand(3, 2), items.expand(3, 2))):
        model.zero_grad()
        (logits * weight).sum().backward()
        found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})  # type: ignore[union-attr]
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient, atol=1e-6, rtol=1e-5)
    assert found[0]["towers.1.user.weight"].abs().max() > 1e-4


def test_start_product_sets_the_logits() -> None:
    model = made(ARCHITECTURES[3])
    p, q = torch.randn(5, 4), torch.randn(7, 4)
    model.output.bias.data.zero_()
    model.start_product(p, q)
    torch.testing.assert_close(model.catalogue(torch.arange(5)), p @ q.T)


def test_a_catalogue_computed_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(ARCHITECTURES[3])
    whole = model.catalogue(torch.arange(5))
    monkeypatch.setattr("ncf.network._GRID_FLOATS", 1)
    torch.testing.assert_close(model.catalogue(torch.arange(5)), whole)


def test_starting_weights_are_those_of_the_paper_and_depend_only_on_the_generator() -> None:
    first: Any
    same: Any
    other: Any
    first, same, other = (Recommender(ARCHITECTURES[3], 4000, 4000) for _ in range(3))
    for model, seed in ((first, 1), (same, 1), (other, 2)):
        model.reset_parameters(torch.Generator().manual_seed(seed))
    embedding = first.towers[0].user.weight
    assert math.isclose(embedding.std().item(), 0.01, rel_tol=0.05)
    assert abs(embedding.mean().item()) < 0.001
    hidden = first.towers[1].hidden[0]
    assert 0.5 * math.sqrt(3 / 8) < hidden.weight.abs().max().item() <= math.sqrt(3 / 8)
    assert hidden.bias.eq(0).all()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(embedding, other.towers[0].user.weight)


def test_dropout_is_drawn_from_the_generator_and_only_while_training() -> None:
    model = Recommender(ARCHITECTURES[1], 5, 7, dropout=0.5)
    model.reset_parameters(torch.Generator().manual_seed(1))
    users, items = torch.arange(5), torch.arange(5)
    first, same, other = (model(users, items, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(model(users, items), model(users, items))


@pytest.mark.parametrize(
    ("model", "factors", "layers", "message"),
    [
        ("svd", 8, (8, 4), "model must be one of gmf, mlp, neumf, not 'svd'"),
        ("gmf", 0, (8, 4), "factors must be an integer from 1 to 4096, not 0"),
        ("gmf", True, (8, 4), "factors must be an integer from 1 to 4096, not True"),
        ("mlp", 8, (7, 4), "mlp_layers must begin with an even number .two embeddings., not 7"),
        ("mlp", 8, (), "mlp_layers must be 1 to 16 integers"),
        ("mlp", 8, (8, 0), "mlp_layers must be 1 to 16 integers"),
    ],
)
def test_refuses_an_invalid_architecture(model: str, factors: int, layers: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(model, factors, layers)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_without_values_has_all_shapes_and_starts_no_weight(architecture: Architecture) -> None:
    """On the device meta torch would import its compiler for that: over a second of each start of the server."""
    called = []

    class Listening(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
            called.append(getattr(function, "__module__", None))
            return function(*arguments, **(named or {}))

    with Listening():
        model = without_values(architecture, 5, 7)
    assert called and "torch.nn.init" not in called
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    expected = {name: (tensor.dtype, tensor.shape) for name, tensor in made(architecture).state_dict().items()}
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in model.state_dict().items()} == expected
