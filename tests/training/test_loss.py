"""The losses against torch's, against 1 - IoU and by hand; and over a quarter of the pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from roadmask.training.label_pictures import VOID
from roadmask.training.loss import LossWeights, lovasz_loss, one_in_four, segmentation_loss

PHASES = [(0, 0), (0, 1), (1, 0), (1, 1)]


def scores_of(probabilities: list[float]) -> Tensor:
    """Two classes on a row of pixels, of which the second has these probabilities."""
    second = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([1 - second, second]).log()[None, :, None]


# Four classes, and three sets: {1, 3}, {2, 3} and all.
SETS = [[1, 3], [2, 3], [0, 1, 2, 3]]
ODD, HIGH, ALL = 4, 5, 6  # their codes
PROBABILITIES = [0.1, 0.2, 0.3, 0.4]
WEIGHTS = [0.5, 1.0, 1.5, 2.0]


def set_weights(**changes: float) -> LossWeights:
    members = torch.eye(7, 4, dtype=torch.bool)
    for row, some in enumerate(SETS, start=4):
        members[row, some] = True
    return LossWeights(members, torch.tensor(WEIGHTS), **changes)


def pixels(*probabilities: list[float]) -> Tensor:
    """(1, classes, 1, pixels) of the probabilities of each pixel."""
    return torch.tensor(probabilities).T[None, :, None]


def loss_of(code: int, weights: LossWeights, teacher: list[float] | None = None) -> float:
    """Of one pixel, for which the network has `PROBABILITIES`."""
    opinion = None if teacher is None else pixels(teacher)
    return float(segmentation_loss(pixels(PROBABILITIES).log(), torch.tensor([[[code]]]), weights, opinion))


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.5])
def test_of_labels_of_one_class_the_loss_is_torchs_cross_entropy(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 4, 5, 7, generator=generator) * 4
    masks = torch.randint(0, 4, (2, 10, 14), generator=generator)
    masks[:, 3:5] = VOID
    enlarged = functional.interpolate(scores, size=(10, 14), mode="bilinear")
    weights = torch.tensor(WEIGHTS)
    expected = functional.cross_entropy(enlarged, masks, weights, ignore_index=VOID, label_smoothing=smoothing)
    for some in (
        LossWeights(torch.eye(4, dtype=torch.bool), weights, smoothing),
        set_weights(label_smoothing=smoothing),
    ):
        assert float(segmentation_loss(scores, masks, some)) == pytest.approx(float(expected), rel=1e-5)


def test_gradients_of_labels_of_one_class_are_torchs() -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(1, 4, 3, 3, generator=generator).requires_grad_()
    masks = torch.randint(0, 4, (1, 3, 3), generator=generator)
    weights = torch.tensor(WEIGHTS)
    (expected,) = torch.autograd.grad(functional.cross_entropy(scores, masks, weights, label_smoothing=0.1), scores)
    (ours,) = torch.autograd.grad(segmentation_loss(scores, masks, set_weights(label_smoothing=0.1)), scores)
    assert torch.allclose(ours, expected, atol=1e-6)


def test_a_set_costs_its_summed_probability_and_does_not_say_which() -> None:
    assert loss_of(ODD, set_weights()) == pytest.approx(-math.log(0.2 + 0.4), rel=1e-5)
    scores = pixels(PROBABILITIES).log().requires_grad_()
    segmentation_loss(scores, torch.tensor([[[ODD]]]), set_weights()).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    inside = scores.grad.flatten()[[1, 3]]
    assert inside[0] / inside[1] == pytest.approx(0.2 / 0.4, rel=1e-4)  # as they stand to each other already


def test_a_set_weighs_as_its_classes_do_on_average() -> None:
    scores = pixels(PROBABILITIES, PROBABILITIES).log()
    loss = segmentation_loss(scores, torch.tensor([[[0, HIGH]]]), set_weights())
    of_high = (1.5 + 2.0) / 2
    assert float(loss) == pytest.approx((-0.5 * math.log(0.1) - of_high * math.log(0.7)) / (0.5 + of_high), rel=1e-5)


def test_a_set_of_all_classes_costs_nothing_and_teaches_nothing() -> None:
    scores = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = segmentation_loss(scores, torch.full((1, 2, 2), ALL), set_weights(label_smoothing=0.05))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert scores.grad is not None
    assert scores.grad.abs().max() < 1e-6


def test_labels_of_sets_are_not_smoothed() -> None:
    assert loss_of(ODD, set_weights(label_smoothing=0.3)) == loss_of(ODD, set_weights())


def test_the_teacher_is_asked_only_which_of_the_set_it_is() -> None:
    """It thinks most of class 0, which the label excludes: of 1 and 3 it has 3 : 1."""
    told = -(0.75 * math.log(0.2) + 0.25 * math.log(0.4))
    teacher = [0.6, 0.3, 0.0, 0.1]
    # Of every class it thinks a ten-thousandth more, so that none is impossible.
    assert loss_of(ODD, set_weights(of_set=1.0), teacher) == pytest.approx(told, rel=1e-3)
    mean = (told - math.log(0.6)) / 2
    assert loss_of(ODD, set_weights(of_set=0.5), teacher) == pytest.approx(mean, rel=1e-3)
    assert loss_of(ODD, set_weights(of_set=0.0), teacher) == pytest.approx(-math.log(0.6), rel=1e-5)


def test_a_teacher_that_sees_none_of_the_set_takes_all_of_it_as_equal() -> None:
    even = -(math.log(0.2) + math.log(0.4)) / 2
    assert loss_of(ODD, set_weights(of_set=1.0), [1.0, 0.0, 0.0, 0.0]) == pytest.approx(even, rel=1e-5)


def test_without_distilling_a_teacher_says_nothing_of_single_classes() -> None:
    assert loss_of(2, set_weights(of_set=1.0), [0.0, 0.0, 1.0, 0.0]) == loss_of(2, set_weights())


def test_what_the_teacher_thinks_is_learnt_beside_the_label_but_not_where_it_contradicts() -> None:
    agrees, contradicts = [0.2, 0.2, 0.6, 0.0], [0.6, 0.2, 0.2, 0.0]
    whole = -(0.2 * math.log(0.1) + 0.2 * math.log(0.2) + 0.6 * math.log(0.3))
    weights = set_weights(distill=0.25)
    assert loss_of(2, weights, agrees) == pytest.approx(-0.75 * math.log(0.3) + 0.25 * whole, rel=1e-4)
    assert loss_of(2, weights, contradicts) == pytest.approx(-math.log(0.3), rel=1e-5)


def test_a_set_is_distilled_where_the_teachers_choice_is_in_it() -> None:
    inside, outside = [0.0, 0.2, 0.1, 0.7], [0.0, 0.2, 0.7, 0.1]
    both = set_weights(of_set=0.0, distill=1.0)
    whole = -(0.2 * math.log(0.2) + 0.1 * math.log(0.3) + 0.7 * math.log(0.4))
    assert loss_of(ODD, both, inside) == pytest.approx(whole, rel=1e-4)
    assert loss_of(ODD, both, outside) == pytest.approx(-math.log(0.6), rel=1e-4)


def test_a_teachers_opinion_under_void_counts_for_nothing() -> None:
    weights = set_weights(of_set=1.0, distill=0.5)
    scores = pixels(PROBABILITIES, PROBABILITIES).log()
    losses = [
        float(segmentation_loss(scores, torch.tensor([[[2, VOID]]]), weights, pixels([0.0, 0.0, 1.0, 0.0], other)))
        for other in ([0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    ]
    assert losses[0] == losses[1]


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
    # Weighted classes divide by the weights that a quarter happens to hold.
    even = LossWeights(torch.eye(3, dtype=torch.bool), torch.ones(3), label_smoothing=0.05)
    whole = segmentation_loss(scores, masks, even)
    quarters = [segmentation_loss(*one_in_four(scores, masks, *phase), even) for phase in PHASES]
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


def test_lovasz_leaves_labels_of_sets_out() -> None:
    scores = scores_of([0.9, 0.4, 0.3, 0.2])
    short = lovasz_loss(scores[..., [0, 2]], torch.tensor([[[1, 0]]]))
    assert torch.equal(lovasz_loss(scores, torch.tensor([[[1, 2, 0, 3]]])), short)


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
