"""The JumpReLU gate and the count of active neurons, with pseudo-gradients for the thresholds.

Rajamanoharan et al. 2024, "Jumping Ahead", equations 11 and 12:

    JumpReLU(z) = z H(z - θ)        H(u) = 1 where u > 0, else 0
    dJumpReLU/dz = H(z - θ)         dJumpReLU/dθ = -(θ / ε) K((z - θ) / ε)        K(u) = 1 where |u| < 1/2, else 0
    dH/dz = 0                       dH/dθ        = -(1 / ε) K((z - θ) / ε)

Both are flat in θ almost everywhere, so that their true gradients say nothing. These estimate how the loss EXPECTED
over embeddings changes with θ, from those embeddings whose value lies within ε / 2 of it.
"""

from torch import Tensor


def jump(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Give the (n, d_sae) values before the gate where they exceed their threshold, 0 elsewhere.

    Args:
        pre_acts: (n, d_sae).
        threshold: (d_sae,), above 0.
        bandwidth: ε, in units of `pre_acts`.
    """
    slope = -(threshold.detach() / bandwidth) * _near(pre_acts, threshold, bandwidth)
    return pre_acts * (pre_acts > threshold) + slope * _nothing(threshold)


def step(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Give (n, d_sae) ones where values exceed their threshold, zeros elsewhere: their sum is the L0 (see `jump`)."""
    slope = -_near(pre_acts, threshold, bandwidth) / bandwidth
    return (pre_acts > threshold).to(pre_acts.dtype) + slope * _nothing(threshold)


def _near(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Give K((z - θ) / ε), (n, d_sae), without a gradient."""
    return ((pre_acts - threshold).abs() < bandwidth / 2).to(pre_acts.dtype)


def _nothing(threshold: Tensor) -> Tensor:
    """Give zeros whose gradient in the threshold is 1: what they are multiplied with is the gradient."""
    return threshold - threshold.detach()
