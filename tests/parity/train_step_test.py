#!/usr/bin/env python3
"""One training step of a small MobileFaceNet against PyTorch: loss, and every variable afterwards.

usage: train_step_test.py TRAIN_STEP

Skips, and says so, where the Python package torch is not installed.
"""
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checks import check, end, skip

try:
    import numpy as np
    import torch
    from torch import nn
except ImportError as e:
    skip(f"training step: the Python package {e.name} is not installed")
    end()

BATCH, SIDE, CLASSES, RATE = 8, 24, 5, 0.1
torch.set_num_threads(1)


def unit(inputs, outputs, kernel, stride=1, pad=0, group=1, act=True):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=group, bias=False),
              nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.PReLU(outputs)] if act else []))


class Bottleneck(nn.Module):
    def __init__(self, inputs, wide, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(unit(inputs, wide, 1), unit(wide, wide, 3, stride, 1, wide),
                                  unit(wide, outputs, 1, act=False))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def network():
    return nn.Sequential(
        unit(3, 16, 3, 2, 1), unit(16, 16, 3, 1, 1, 16), Bottleneck(16, 32, 24, 2),
        Bottleneck(24, 48, 24, 1), Bottleneck(24, 48, 24, 1), unit(24, 32, 1),
        unit(32, 32, 6, group=32, act=False), nn.Flatten(), nn.Linear(32, CLASSES))


def variables(net):
    """Names and tensors in the order in which the driver numbers them."""
    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.PReLU, nn.Linear)):
            yield name + ".weight", layer.weight
        elif isinstance(layer, nn.BatchNorm2d):
            yield name + ".scale", layer.weight
            yield name + ".shift", layer.bias
            yield name + ".mean", layer.running_mean
            yield name + ".variance", layer.running_var
        if isinstance(layer, nn.Linear):
            yield name + ".bias", layer.bias


def read(path):
    return torch.from_numpy(np.fromfile(path, dtype=np.float32))


def as_driver(name, tensor, net):
    """The last layer's weights lie [in][out] in the driver."""
    linear = isinstance(net.get_submodule(name.rsplit(".", 1)[0]), nn.Linear)
    return tensor.t() if linear and tensor.dim() == 2 else tensor


def main():
    net = network()
    with tempfile.TemporaryDirectory() as where:
        folder = pathlib.Path(where)
        subprocess.run([sys.argv[1], where], check=True)
        shapes = (folder / "variables.txt").read_text().splitlines()
        named = list(variables(net))
        check("variables", len(shapes) == len(named), len(shapes), "PyTorch has", len(named))
        with torch.no_grad():
            for i, (name, tensor) in enumerate(named):
                like = as_driver(name, tensor, net)
                like.copy_(read(folder / f"{i}.before").reshape(like.shape))
        x = read(folder / "input").reshape(BATCH, 3, SIDE, SIDE)
        net.train()
        loss = nn.functional.cross_entropy(net(x), torch.arange(BATCH) % CLASSES)
        loss.backward()
        torch.optim.SGD(net.parameters(), lr=RATE).step()
        ours = read(folder / "loss")[0].item()
        check("loss", abs(ours - loss.item()) < 1e-4, ours, "PyTorch has", loss.item())
        for i, (name, tensor) in enumerate(named):
            like = as_driver(name, tensor.detach(), net)
            after = read(folder / f"{i}.after").reshape(like.shape)
            off = (after - like).abs().max().item() / max(1, like.abs().max().item())
            check(name, off < 1e-4, f"off by {off:.2g}")
    end()


main()
