# SPDX-License-Identifier: Apache-2.0
"""Writes the byte-level BPE fixture of this folder: 256 byte symbols, a few merges, ChatML specials.

Standard library only. Vocabulary of 320 ids, so that a model of a few thousand parameters can use it.
The template is ChatML with {% generation %} marks around what an assistant turn trains.
"""
import json
import pathlib

MERGES = [
    "Ġ t", "h e", "i n", "e r", "Ġ a", "o n", "r e", "Ġt he", "a t", "Ġ o", "Ġ s", "e n", "Ġ w", "n d", "i s", "Ġ c",
    "o r", "a l", "Ġ f", "i t", "Ġ p", "e s", "in g", "Ġ in", "u s", "s e", "Ġt o", "a n", "l e", "s t", "Ġo f",
    "Ġ d", "a r", "Ġ m", "e d", "o u", "Ġ is", "Ġa nd", "Ġ b", "i on", "a s", "Ġ h", "Ġ re", "l l", "Ġ b e", "r o",
    "v e", "i c", "Ġ g", "e t", "Ġ n", "c h", "u r", "o m", "Ġ l", "c t", "o t", "Ġ y", "o w", "i l", "l y",
]
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>' + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_symbols():
    """The GPT-2 map from bytes to printable characters."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols, shifted = {}, 0
    for byte in range(256):
        if byte in kept:
            symbols[byte] = chr(byte)
        else:
            symbols[byte] = chr(256 + shifted)
            shifted += 1
    return symbols


def main():
    here = pathlib.Path(__file__).parent
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: i for i, token in enumerate(specials)}
    for symbol in byte_symbols().values():
        vocabulary[symbol] = len(vocabulary)
    merges = []
    for merge in MERGES:
        left, right = merge.split(" ", 1)
        if left not in vocabulary or right not in vocabulary or left + right in vocabulary:
            continue
        vocabulary[left + right] = len(vocabulary)
        merges.append(merge)
    assert len(vocabulary) <= 320, len(vocabulary)
    added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, token in enumerate(specials)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": vocabulary, "merges": merges},
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None, "unk_token": None,
        "model_max_length": 2048, "chat_template": TEMPLATE,
        "added_tokens_decoder": {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in added},
    }
    (here / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (here / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
