"""The peer of train.ts on the CPU: the same step in PyTorch, eager, float32. Answers each line with the seconds that it took.

    python3 bench/pytorch-train.py THREADS < tasks
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

shape = json.loads(sys.argv[1])
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(1)
B, T, V, D, L, H, G, C = (shape[k] for k in ("sequences", "tokens", "V", "D", "L", "H", "G", "C"))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(D, eps=shape["eps"]), nn.RMSNorm(D, eps=shape["eps"])
        self.q, self.o = nn.Linear(D, H * C, bias=False), nn.Linear(H * C, D, bias=False)
        self.k, self.v = nn.Linear(D, G * C, bias=False), nn.Linear(D, G * C, bias=False)
        self.gate, self.up = nn.Linear(D, shape["F"], bias=False), nn.Linear(D, shape["F"], bias=False)
        self.down = nn.Linear(shape["F"], D, bias=False)

    def forward(self, x, cos, sin):
        y = self.norm1(x)
        q = rotate(self.q(y).view(B, T, H, C).transpose(1, 2), cos, sin)
        k = rotate(self.k(y).view(B, T, G, C).transpose(1, 2), cos, sin)
        v = self.v(y).view(B, T, G, C).transpose(1, 2)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(seen.transpose(1, 2).reshape(B, T, H * C))
        z = self.norm2(x)
        return x + self.down(F.silu(self.gate(z)) * self.up(z))


def rotate(x, cos, sin):
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat([-high, low], -1) * sin


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(V, D), nn.Linear(D, V, bias=False)
        self.layers, self.norm = nn.ModuleList(Layer() for _ in range(L)), nn.RMSNorm(D, eps=shape["eps"])
        half = shape["theta"] ** (-torch.arange(0, C, 2) / C)
        angles = torch.arange(T)[:, None] * torch.cat([half, half])
        self.cos, self.sin = angles.cos(), angles.sin()

    def forward(self, ids, target):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, V), target.view(-1))


model = Model()
optimizer = torch.optim.AdamW(
    model.parameters(), lr=shape["rate"], betas=(shape["beta1"], shape["beta2"]), weight_decay=0
)
ids = torch.tensor(shape["ids"]).view(B, T)
target = torch.tensor(shape["target"]).view(B, T)


def step():
    optimizer.zero_grad()
    model(ids, target).backward()
    optimizer.step()


def forward():
    with torch.no_grad():
        return model(ids, target).item()


tasks = {"train-step": step, "train-forward": forward}
for task in tasks.values():
    task()
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    tasks[line.strip()]()
    print(time.perf_counter() - start, flush=True)
