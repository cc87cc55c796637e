#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes model folders whose tokenizer files disagree, add tokens or name templates in every way, and what transformers makes of each, for
tests/engine/text/folder_reference_test.cc.
Output: OUTPUT/NAME/ with the files, and OUTPUT/NAME/expected.json: the named tokens, ids of texts, special ids, the text of a conversation rendered
without tools, with an empty list and with a tool; null = an error.

usage: reference_folders.py OUTPUT
"""
import json
import os
import pathlib
import shutil
import sys

from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
TOKENIZER = HERE / "tokenizers/qwen3/tokenizer.json"
TEXTS = ["a <|im_end|>\n b", "x <|im_start|> \n y<|endoftext|> z", "one <new> two<x>", "[PAD]<unk><s> <mask> t", "other the end bend", " <a> <b>  <z> <img>é"]
CONVERSATION = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
NAMES = "{{ bos_token }}/{{ eos_token }}/{{ pad_token }}/{{ unk_token }}/{{ sep_token }}/{{ mask_token }}/{{ image_token }}/{{ boi }}/{{ x_token }}"
BASE = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": NAMES}
MAP = "special_tokens_map.json"


def token(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **flags}


def typed(content, **flags):
    return {"__type": "AddedToken", **token(content, **flags)}


def decoder(**changes):
    """added_tokens_decoder as tokenizer.json has it, then `changes` by id."""
    tokens = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in json.loads(TOKENIZER.read_text())["added_tokens"]}
    return {"added_tokens_decoder": {**tokens, **{key[1:]: value for key, value in changes.items()}}}


IDS = {t["content"]: t["id"] for t in json.loads(TOKENIZER.read_text())["added_tokens"]}
START, END, TEXT_END = (f"_{IDS[t]}" for t in ("<|im_start|>", "<|im_end|>", "<|endoftext|>"))
NAMED = [{"name": "default", "template": "default {{ tools is none }}"}, {"name": "tool_use", "template": "tools {{ tools|length }}"}, {"name": "rag", "template": "rag"}]
# name: (keys of tokenizer_config.json, other files)
FOLDERS = {
    "plain": ({}, {}),
    "no_config": (None, {}),
    "rstrip_wins": (decoder(**{END: token("<|im_end|>", rstrip=True)}), {}),
    "lstrip_wins": (decoder(**{TEXT_END: token("<|endoftext|>", lstrip=True), START: token("<|im_start|>", lstrip=True, rstrip=True)}), {}),
    "flags_missing": (decoder(**{END: {"content": "<|im_end|>"}}), {}),
    "named_is_special": (decoder(**{END: token("<|im_end|>", special=False)}), {}),
    "further_token": (decoder(_9000=token("<x>"), _8000={"content": "<new>"}), {}),
    "token_without_special": (decoder(_900=token("<new>", special=False, normalized=True, rstrip=True)), {}),
    "id_of_another": (decoder(_5=token("<x>", lstrip=True)), {}),
    "pad_not_there": ({"pad_token": "[PAD]", "unk_token": "<unk>"}, {}),
    "bos_not_there": ({"bos_token": "<s>", "mask_token": "<mask>", "sep_token": "<s>"}, {}),
    "word_of_the_model": ({"bos_token": "the"}, {}),
    "typed_token": ({"pad_token": typed("[PAD]", lstrip=True), "mask_token": typed("<mask>", special=False, rstrip=True)}, {}),
    "empty_and_null": ({"pad_token": "", "bos_token": None, "x_token": None}, {}),
    "extra_list": ({"extra_special_tokens": ["<a>", typed("<b>", lstrip=True), "end"]}, {}),
    "extra_dict": ({"extra_special_tokens": {"image_token": "<img>", "boi": "<b>"}, "x_token": "<x>", "add_bos_token": True}, {}),
    "additional": ({"additional_special_tokens": ["<a>", "<b>"]}, {}),
    "additional_and_extra": ({"additional_special_tokens": ["<a>"], "extra_special_tokens": ["<b>"]}, {}),
    "map_wins": ({}, {MAP: {"eos_token": "<|endoftext|>", "pad_token": {**token("[PAD]", lstrip=True)}, "bos_token": None, "additional_special_tokens": ["<z>"]}}),
    "map_takes_away": ({"unk_token": "<unk>"}, {MAP: {"unk_token": None, "image_token": "<img>"}}),
    "map_and_decoder": (decoder(), {MAP: {"eos_token": "<|endoftext|>", "mask_token": "<mask>"}}),
    "map_extra_list": ({"extra_special_tokens": ["<a>"]}, {MAP: {"extra_special_tokens": ["<z>", "<a>"]}}),
    "map_extra_dict": ({"extra_special_tokens": ["<a>"]}, {MAP: {"extra_special_tokens": {"image_token": "<img>"}}}),
    "added_file": ({"mask_token": "<mask>"}, {"added_tokens.json": {"<new>": 9000, "<mask>": 8000, "<z>": IDS["<|im_start|>"], "<|im_end|>": 3}}),
    "added_file_and_decoder": (decoder(), {"added_tokens.json": {"<new>": 9000}}),
    "named_templates": ({"chat_template": NAMED}, {}),
    "no_default": ({"chat_template": NAMED[1:]}, {}),
    "file_instead": ({"chat_template": None}, {"chat_template.jinja": "file {{ eos_token }}"}),
    "file_beside": ({}, {"chat_template.jinja": "file {{ eos_token }}"}),
    "file_beside_list": ({"chat_template": NAMED}, {"chat_template.jinja": "file {{ eos_token }}"}),
    "file_and_folder": ({}, {"chat_template.jinja": "file", "additional_chat_templates/tool_use.jinja": "folder {{ tools|length }}"}),
    "folder_beside": ({}, {"additional_chat_templates/tool_use.jinja": "folder {{ tools|length }}"}),
    "folder_default": ({}, {"chat_template.jinja": "file", "additional_chat_templates/default.jinja": "folder", "additional_chat_templates/notes.txt": "x"}),
    "folder_other_name": ({}, {"chat_template.jinja": "file", "additional_chat_templates/rag.jinja": "rag"}),
}


def expected(folder):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    renders = []
    for tools in (None, [], [TOOL]):
        try:
            renders.append(tokenizer.apply_chat_template(CONVERSATION, tools=tools, tokenize=False))
        except Exception:  # every kind of failure counts the same here
            renders.append(None)
    backend = tokenizer.backend_tokenizer
    return {"named": tokenizer.special_tokens_map, "texts": [[text, backend.encode(text, add_special_tokens=False).ids] for text in TEXTS],
            "special": sorted(i for i, t in tokenizer.added_tokens_decoder.items() if t.special), "size": len(tokenizer), "renders": renders}


def main():
    for name, (config, files) in FOLDERS.items():
        folder = pathlib.Path(sys.argv[1]) / name
        os.makedirs(folder / "additional_chat_templates" if any("/" in f for f in files) else folder)
        shutil.copy(TOKENIZER, folder)
        if config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps({**BASE, **config}))
        for file, content in files.items():
            (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))
        (folder / "expected.json").write_text(json.dumps(expected(folder)))


if __name__ == "__main__":
    main()
