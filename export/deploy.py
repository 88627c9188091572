"""The network as it is deployed: pictures in as a decoder gives them, class scores out."""

from __future__ import annotations

from torch import Tensor, nn

from ..training.checkpoint import Checkpoint


class DeployedNetwork(nn.Module):
    """uint8 (batch, height, width, 3) RGB to float32 scores (batch, classes, height / 2, width / 2).

    Height and width must be multiples of the network's stride. The statistics of the input travel inside, so that
    whoever runs the model cannot get them wrong. They stay two operations of their own: folded into the first
    convolution they would change its borders, where it pads the *normalised* picture with zeros.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.network = checkpoint.build()
        self.mean = checkpoint.input_mean
        self.std = checkpoint.input_std
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        pictures = image.permute(0, 3, 1, 2).float()  # in this order the transpose moves bytes, not floats
        scores: Tensor = self.network((pictures - self.mean) / self.std)
        return scores
