"""The Lovasz loss by hand and against 1 - IoU, and the loss over a quarter of the pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from roadmask.training.camvid import VOID
from roadmask.training.loss import lovasz_loss, one_in_four, segmentation_loss

PHASES = [(0, 0), (0, 1), (1, 0), (1, 1)]


def scores_of(probabilities: list[float]) -> Tensor:
    """Two classes on a row of pixels, of which the second has these probabilities."""
    second = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([1 - second, second]).log()[None, :, None]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("height", "width"), [(3, 5), (1, 1), (4, 2)])
def test_one_in_four_takes_the_very_pixels_of_the_enlarged_scores(
    phase: tuple[int, int], height: int, width: int
) -> None:
    row, column = phase
    scores = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    masks = torch.arange(2 * 4 * height * width).reshape(2, 2 * height, 2 * width)
    full = functional.interpolate(scores, scale_factor=2, mode="bilinear")
    some, labels = one_in_four(scores, masks, row, column)
    # Not bit for bit: a quarter of the way is computed as a + (b - a) / 4 here and as 3/4 a + 1/4 b there.
    assert torch.allclose(some, full[:, :, row::2, column::2], rtol=0, atol=1e-12)
    assert torch.equal(labels, masks[:, row::2, column::2])


def test_the_four_quarters_losses_have_the_mean_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, 6, generator=generator)
    masks = torch.randint(0, 3, (2, 8, 12), generator=generator)
    even = torch.ones(3)  # weighted classes divide by the weights that a quarter happens to hold
    whole = segmentation_loss(scores, masks, even, label_smoothing=0.05)
    quarters = [segmentation_loss(*one_in_four(scores, masks, *phase), even, label_smoothing=0.05) for phase in PHASES]
    assert float(torch.stack(quarters).mean()) == pytest.approx(float(whole), rel=1e-6)


def test_lovasz_of_four_pixels_worked_out_by_hand() -> None:
    """Truth 1 1 0 0, probabilities of class 1: .9 .4 .3 .2.

    Errors of either class: .6 (a 1), .3 (a 0), .2 (a 0), .1 (a 1). Class 1, losing pixel after pixel in that order:
    1 - IoU is 1 - 1/2, 1 - 1/3, 1 - 1/4, 1 - 0/4; its steps 1/2, 1/6, 1/12, 1/4. Class 0: 1 - 2/3, 1 - 1/3, 1, 1.
    """
    loss = lovasz_loss(scores_of([0.9, 0.4, 0.3, 0.2]), torch.tensor([[[1, 1, 0, 0]]]))
    one = 0.6 / 2 + 0.3 / 6 + 0.2 / 12 + 0.1 / 4
    zero = 0.6 / 3 + 0.3 / 3 + 0.2 / 3
    assert float(loss) == pytest.approx((one + zero) / 2, rel=1e-5)


@pytest.mark.parametrize("predicted", [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
def test_lovasz_of_hard_predictions_is_one_minus_iou(predicted: list[int]) -> None:
    truth = torch.tensor([1, 1, 0, 0])
    hard = torch.tensor(predicted)
    scores = (functional.one_hot(hard, 2).float() * 200).T[None, :, None]
    ious = [
        float(((hard == index) & (truth == index)).sum() / ((hard == index) | (truth == index)).sum())
        for index in (0, 1)
    ]
    assert float(lovasz_loss(scores, truth[None, None])) == pytest.approx(1 - sum(ious) / 2, abs=1e-6)


def test_lovasz_leaves_void_and_classes_that_do_not_occur_out() -> None:
    masks = torch.tensor([[[1, VOID, 0, VOID]]])
    scores = scores_of([0.9, 0.4, 0.3, 0.2])
    short = lovasz_loss(scores[..., [0, 2]], masks[..., [0, 2]])
    assert torch.equal(lovasz_loss(scores, masks), short)
    third = torch.full((1, 1, 1, 4), -1e4, dtype=scores.dtype)  # a class of no probability that no pixel is of
    assert torch.equal(lovasz_loss(torch.cat([scores, third], dim=1), masks), short)


def test_lovasz_of_nothing_but_void_is_zero_with_gradients() -> None:
    scores = torch.randn(1, 2, 4, 4).requires_grad_()
    loss = lovasz_loss(scores, torch.full((1, 4, 4), VOID))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_lovasz_falls_along_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 3, 8, 8, generator=generator).requires_grad_()
    masks = torch.randint(0, 3, (1, 8, 8), generator=generator)
    loss = lovasz_loss(scores, masks)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert lovasz_loss(scores - 5 * gradient, masks).item() < loss.item()
