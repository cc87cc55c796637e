#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks by hand that llama.cpp reads exported models: from an F32 file it gives the greedy answers
of transformers in fp32 to ten prompts, for a tiny random model of each family.

usage: llama_cpp_check.py WORKER LLAMA_PYTHON [MODEL...]

WORKER: trainerd-worker. LLAMA_PYTHON: a Python with deploy/requirements/llama_cpp.txt installed.
MODEL: names in gguf_models.json; all unless given. Runs in the environment of
tests/requirements-peers.txt. Prints a line per model; exits 1 if an answer differs.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).parent
TOKENIZERS = FOLDER.parent / "text" / "tokenizers"
# The tokenizer of a family's model; qwen3 for the others.
TOKENIZER_OF = {"llama_tied": "llama2", "llama3_rope_bias": "llama3", "mistral_sliding": "mistral",
                "gemma": "gemma", "gemma2": "gemma", "gemma3": "gemma", "phi3": "phi3", "phi4_mini": "o200k",
                "granite": "smollm2", "smollm3": "llama3", "olmo2": "gpt2"}
CHANGES = {"mistral_sliding": {"sliding_window": 64}, "smollm3": {"num_hidden_layers": 5},
           "gemma3": {"num_hidden_layers": 7, "sliding_window": 16,
                      "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 1 + ["sliding_attention"]},
           # Within the original positions both use the short factors.
           "phi4_mini": {"original_max_position_embeddings": 256, "rope_parameters": {
               "rope_theta": 10000.0, "rope_type": "longrope", "partial_rotary_factor": 0.75,
               "original_max_position_embeddings": 256, "short_factor": [1.0, 1.05, 1.2, 1.5, 2.0, 3.0],
               "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]}},
           "phi3": {"sliding_window": 64}, "gemma2": {"sliding_window": 16}}
NEW_TOKENS = 12
TEXTS = ["Hello world", "The year 2024, isn't it?", "  two spaces\n\nand lines\t", "Grüße aus Köln: 12.345 €"]

LLAMA = """
import json, sys, urllib.request
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.n_gpu_layers, params.warmup = 128, 1, 0, False
params.cpuparams.n_threads = 1
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(params)
request = json.load(sys.stdin)

def post(path, body):
    message = urllib.request.Request(server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(message))["tokens"]

answers = [post("/completion", {"prompt": prompt, "n_predict": request["new_tokens"], "temperature": 0, "cache_prompt": False, "return_tokens": True})
           for prompt in request["prompts"]]
ids = [post("/tokenize", {"content": text, "add_special": False, "parse_special": False}) for text in request["texts"]]
print("RESULT" + json.dumps({"answers": answers, "ids": ids}))
"""


def make_folder(name, folder):
    import torch
    import transformers
    config = json.loads((FOLDER / "gguf_models.json").read_text())["models"][name]["config"] | CHANGES.get(name, {})
    tokenizer = TOKENIZERS / TOKENIZER_OF.get(name, "qwen3")
    vocabulary = json.loads((tokenizer / "tokenizer.json").read_text())
    ids = [*vocabulary["model"]["vocab"].values(), *(token["id"] for token in vocabulary["added_tokens"])]
    text = config.get("text_config", config)
    text["vocab_size"] = max(ids) + 3
    cls = getattr(transformers, config["architectures"][0])
    torch.manual_seed(5)
    model = cls(cls.config_class(**{k: v for k, v in config.items() if k not in ("architectures", "model_type")}))
    model = model.to(torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (1.0 if parameter.ndim == 1 else 0.0))
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, folder)
    return model, text["vocab_size"] - 3


def check(name, worker, python):
    import tokenizers
    import torch
    with tempfile.TemporaryDirectory() as work:
        folder, file = pathlib.Path(work) / "hf", pathlib.Path(work) / "model.gguf"
        model, count = make_folder(name, folder)
        subprocess.run([worker, "export", "--model", folder, "--form", "gguf", "--type", "f32", "--output", file], check=True)
        generator = torch.Generator().manual_seed(9)
        prompts = [torch.randint(10, count - 10, (3 + i,), generator=generator).tolist() for i in range(10)]
        expected = [model.generate(torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0,
                                   eos_token_id=None)[0, len(prompt):].tolist() for prompt in prompts]
        request = {"prompts": prompts, "new_tokens": NEW_TOKENS, "texts": TEXTS}
        ran = subprocess.run([python, "-c", LLAMA, file], input=json.dumps(request), capture_output=True, text=True)
        lines = [line for line in ran.stdout.splitlines() if line.startswith("RESULT")]
        if not lines:
            errors = [line for line in (ran.stdout + ran.stderr).splitlines() if "rror" in line or "fail" in line or "ASSERT" in line]
            print(f"{name}: llama.cpp did not answer:", *(errors or [ran.stderr[-1500:]]), sep="\n  ")
            return False
        result = json.loads(lines[0][6:])
        # An answer may end early at an end-of-generation token.
        equal = sum(got == want[:len(got)] and len(got) > 0 for got, want in zip(result["answers"], expected))
        reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        reference_ids = [reference.encode(text, add_special_tokens=False).ids for text in TEXTS]
        same = sum(want == got for want, got in zip(reference_ids, result["ids"]))
        print(f"{name}: {equal} of {len(prompts)} answers are those of transformers; "
              f"{same} of {len(TEXTS)} texts have the same tokens")
        for text, want, got in zip(TEXTS, reference_ids, result["ids"]):
            if want != got:
                print(f"  {text!r}: expected {want}, got {got}")
        if equal < len(prompts):
            print("  expected", expected[0], "\n  got     ", result["answers"][0])
        return equal == len(prompts)


def main():
    worker, python, *names = sys.argv[1:]
    names = names or list(json.loads((FOLDER / "gguf_models.json").read_text())["models"])
    sys.exit(0 if all([check(name, worker, python) for name in names]) else 1)


if __name__ == "__main__":
    main()
