"""The peer of large.ts: OLMoE's shape with random bf16 weights through transformers, eager, with its defaults.

    python3 bench/pytorch.py        # needs torch with CUDA, and transformers 5
"""

import statistics
import time

import torch
import transformers
from transformers import OlmoeConfig, OlmoeForCausalLM

PROMPTS, CONTEXTS, ROUNDS, TOKENS = (128, 512, 2048), (128, 2048), 5, 64

config = OlmoeConfig(
    vocab_size=50304,
    hidden_size=2048,
    intermediate_size=1024,
    num_hidden_layers=16,
    num_attention_heads=16,
    num_key_value_heads=16,
    num_experts=64,
    num_experts_per_tok=8,
    max_position_embeddings=4096,
)


def prompt(length):
    return torch.tensor([[300 + (i * 7919) % 49000 for i in range(length)]], device="cuda")


def timed(call):
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = call()
    torch.cuda.synchronize()
    return result, time.perf_counter() - start


@torch.no_grad()
def main():
    torch.set_default_dtype(torch.bfloat16)
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = OlmoeForCausalLM(config).eval()
    name, attention = torch.cuda.get_device_name(), model.config._attn_implementation
    print(f"{name}: transformers {transformers.__version__}, torch {torch.__version__}, {attention}", flush=True)
    for length in PROMPTS:
        ids = prompt(length)
        seconds = [timed(lambda: model(ids, logits_to_keep=1))[1] for _ in range(ROUNDS + 1)]
        print(f"prompt of {length}: {length / statistics.median(seconds[1:]):.0f} tokens/s", flush=True)
    for context in CONTEXTS:
        out = model(prompt(context), use_cache=True, logits_to_keep=1)
        seconds = []
        for _ in range(TOKENS):
            token = out.logits[:, -1:].argmax(-1)
            out, took = timed(lambda: model(token, past_key_values=out.past_key_values, use_cache=True))
            seconds.append(took)
        print(f"decoding after {context}: {1 / statistics.median(seconds):.1f} tokens/s", flush=True)


main()
