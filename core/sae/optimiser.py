"""Adam over the parameters of an SAE, with decoder rows of length 1 where these are wanted."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from core.sae import kernels

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma and Ba 2015), as `torch.optim.Adam` computes it, each row in one pass.

    Args:
        parameters: What is learnt, by name.
        on_sphere: Names of matrices whose rows have length 1 after each step: the part of a gradient along its row,
            which would only change the length, is left out.
    """

    def __init__(self, parameters: Mapping[str, Tensor], on_sphere: frozenset[str] = frozenset()) -> None:
        self.parameters, self.on_sphere = parameters, on_sphere
        self.means = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        """Running means of the gradients."""
        self.squares = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        """Running means of their squares."""
        self.steps = dict.fromkeys(parameters, 0)
        """Steps that each parameter has made."""

    def step(self, gradients: Mapping[str, Tensor | None], rate: float) -> None:
        """Move the parameters once; those without a gradient stay."""
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            self.steps[name] = t = self.steps[name] + 1
            kernels.adam(
                _rows(self.parameters[name]), _rows(gradient), _rows(self.means[name]), _rows(self.squares[name]),
                np.float32(1 - BETA_1), np.float32(1 - BETA_2), np.float32(rate / (1 - BETA_1**t)),
                np.float32(np.sqrt(1 - BETA_2**t)), np.float32(EPSILON), name in self.on_sphere,
            )  # fmt: skip

    @torch.no_grad()
    def forget(self, name: str, rows: Tensor) -> None:
        """Let some rows of a parameter begin anew."""
        self.means[name][rows] = 0
        self.squares[name][rows] = 0

    def state(self) -> dict[str, np.ndarray]:
        """Give all that the next steps depend on, apart from the parameters."""
        out = {}
        for name in self.parameters:
            out[f"{name}.step"] = np.array([self.steps[name]], np.float32)
            out[f"{name}.exp_avg"], out[f"{name}.exp_avg_sq"] = self.means[name].numpy(), self.squares[name].numpy()
        return out

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to where `state` was taken."""
        for name in self.parameters:
            self.steps[name] = int(state[f"{name}.step"][0])
            self.means[name].copy_(torch.from_numpy(state[f"{name}.exp_avg"]))
            self.squares[name].copy_(torch.from_numpy(state[f"{name}.exp_avg_sq"]))


def _rows(values: Tensor) -> np.ndarray:
    """Give a matrix or, as its one row, a vector."""
    return np.atleast_2d(values.detach().contiguous().numpy())
