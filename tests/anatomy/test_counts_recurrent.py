"""LSTMs, which run as one operation a layer, against the same LSTM step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counting import Run, by_torch, numbers
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect

STEPS, IMAGES, WIDTH, STATES = 5, 2, 6, 4


def _step_by_step(lstm: nn.LSTM, x: Tensor, hidden: Tensor | None = None) -> Tensor:
    """nn.LSTM's equations as its documentation has them; (T, N, width) -> (T, N, states)."""
    directions = 2 if lstm.bidirectional else 1
    for layer in range(lstm.num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"l{layer}{'_reverse' if direction else ''}"
            start = hidden[layer * directions + direction] if hidden is not None else None
            outputs.append(_one_direction(lstm, suffix, x, start))
        x = torch.cat(outputs, -1)
    return x


def _one_direction(lstm: nn.LSTM, suffix: str, x: Tensor, hidden: Tensor | None) -> Tensor:
    def part(name: str) -> Any:
        return getattr(lstm, f"{name}_{suffix}", None)

    state = cell = x.new_zeros(x.shape[1], lstm.hidden_size)
    state = state if hidden is None else hidden
    order = range(len(x))
    found: dict[int, Tensor] = {}
    for step in reversed(order) if suffix.endswith("reverse") else order:
        gates = F.linear(x[step], part("weight_ih"), part("bias_ih")) + F.linear(
            state, part("weight_hh"), part("bias_hh")
        )
        into, forget, candidate, out = gates.chunk(4, -1)
        cell = forget.sigmoid() * cell + into.sigmoid() * candidate.tanh()
        state = out.sigmoid() * cell.tanh()
        found[step] = state
    return torch.stack([found[step] for step in order])


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"num_layers": 3},
    "both ways": {"bidirectional": True, "num_layers": 2},
    "no bias": {"bias": False},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_lstm_costs_what_its_steps_cost(kind: dict[str, Any]) -> None:
    lstm, shape = nn.LSTM(WIDTH, STATES, **kind), (STEPS, IMAGES, WIDTH)
    whole = Run(lambda s, x: s.lstm(x)[0], lstm=lstm)
    steps = Run(lambda s, x: _step_by_step(s.lstm, x), lstm=lstm)
    x = torch.randn(shape)
    torch.testing.assert_close(whole(x), steps(x))
    body = dissect(whole, inputs=[shape])
    assert body.partial == ()
    assert body.macs == by_torch(steps, shape, backward=False)
    assert body.macs + body.backward_macs == by_torch(steps, shape)
    # Each state: four sums of two products, 3 sigmoids of 4, 2 tanh, 3 products and a sum; and two
    # biases a gate.
    each = (4 + 3 * 4 + 2 + 3 + 1) + (8 if lstm.bias else 0)
    states = STEPS * IMAGES * STATES * lstm.num_layers * (2 if lstm.bidirectional else 1)
    full = dissect(whole, inputs=[shape], convention="full")
    assert full.macs == body.macs + each * states


@pytest.mark.parametrize("frozen", [(), ("weight_ih_l0",), ("weight_hh_l0", "start")], ids=str)
def test_the_gradient_of_an_lstm_goes_where_it_is_wanted(frozen: tuple[str, ...]) -> None:
    """A first state that learns takes one product more, a frozen weight one less."""
    lstm, start = nn.LSTM(WIDTH, STATES), numbers(1, IMAGES, STATES)
    for name, parameter in (*lstm.named_parameters(), ("start", start)):
        parameter.requires_grad_(name not in frozen)
    whole = Run(lambda s, x: s.lstm(x, (s.start, s.start * 0))[0], lstm=lstm, start=start)
    steps = Run(lambda s, x: _step_by_step(s.lstm, x, s.start), lstm=lstm, start=start)
    shape = (STEPS, IMAGES, WIDTH)
    body = dissect(whole, inputs=[shape])
    assert body.macs + body.backward_macs == by_torch(steps, shape)


def test_an_lstm_is_linear_arithmetic() -> None:
    body = dissect(nn.LSTM(WIDTH, STATES), inputs=[(STEPS, IMAGES, WIDTH)])
    assert body.subtotals["linear"] == body.macs == STEPS * IMAGES * 4 * STATES * (WIDTH + STATES)
