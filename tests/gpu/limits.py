# SPDX-License-Identifier: Apache-2.0
"""The upper limit of the tokens that a GPU can train per second: the work of the matrix products
divided by the rate of dense bf16 products.

FLOPs per token of full fine-tuning, no recompute, causal attention counted once:
    6·N_body + 6·N_head·f + 6·L·n_heads·(2·head_dim)·S/2
N_body: parameters of the layers' matrices. N_head = vocabulary × hidden (also for a tied head).
f: share of target tokens; only these pass through the head. S: Σlen²/Σlen over the packed
documents, which is the length if all documents have the same length."""

# Dense bf16 products of random data on one H100 or H200 (SXM). Zeros reach 894 TFLOP/s; the data
# sheet states 989.
BF16_FLOPS_PER_SECOND = {"H100": 790e12, "H200": 790e12}


def body_parameters(config):
    hidden, head = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    attention = hidden * queries + 2 * hidden * keys + queries * hidden
    return config["num_hidden_layers"] * (attention + 3 * hidden * config["intermediate_size"])


def flops_per_token(config, trained_share, mean_square_length):
    head = config["vocab_size"] * config["hidden_size"]
    attention = (
        config["num_hidden_layers"]
        * config["num_attention_heads"]
        * 2
        * config["head_dim"]
        * mean_square_length
        / 2
    )
    return 6 * body_parameters(config) + 6 * head * trained_share + 6 * attention


def mean_square_length(lengths):
    """Σlen²/Σlen."""
    return sum(n * n for n in lengths) / sum(lengths)


def limit_tokens_per_second(config, trained_share, length, gpu_name):
    """None if the table above has no rate for the GPU."""
    for name, rate in BF16_FLOPS_PER_SECOND.items():
        if name in gpu_name:
            return rate / flops_per_token(config, trained_share, length)
    return None


def qwen3(hidden, intermediate):
    """config.json of the 0.6B and 1.7B shapes."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "hidden_act": "silu",
        "max_position_embeddings": 40960,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "use_sliding_window": False,
        "torch_dtype": "bfloat16",
    }


SHAPES = {"qwen3-0.6b": qwen3(1024, 3072), "qwen3-1.7b": qwen3(2048, 6144)}
