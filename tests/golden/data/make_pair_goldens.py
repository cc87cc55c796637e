#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens and masks that TRL's DPOTrainer makes of preference records; tests/engine/data/examples/pair_golden_test.cc compares ours.

Usage: make_pair_goldens.py > pairs.json
References (tests/requirements-peers.txt): trl 1.16.0, transformers 5.23.0, tokenizers 0.23.3.

Each case is a tokenizer of tests/golden/text/tokenizers with a template, a max_length and records. For a record: prompt, the number of tokens that are
not scored, and the ids of both answers with their prompt, cut at max_length by TRL's collator; null = TRL drops the record.
"""
import contextlib
import json
import pathlib
import sys
import types

import datasets
import transformers
import trl
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

HERE = pathlib.Path(__file__).parent
TOKENIZERS = HERE.parent / "text/tokenizers"
TEMPLATES = HERE.parent / "text/templates"

CHATML = (
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}")
# In the manner of Qwen3: only the last answer has its think block; with enable_thinking: false the generation prompt has one too.
THINKING = (
    "{%- set at = namespace(question=-1) -%}{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set at.question = loop.index0 -%}{%- endif -%}{%- endfor -%}"
    "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\\n' -}}{%- if m.role == 'assistant' -%}{%- set parts = (m.content or '').split('</think>') -%}"
    "{%- if loop.index0 > at.question -%}{{- '<think>\\n' -}}{%- if parts|length > 1 -%}{{- parts[0].split('<think>')[-1].strip('\\n') -}}{%- endif -%}"
    "{{- '\\n</think>\\n\\n' -}}{%- endif -%}{{- parts[-1].lstrip('\\n') -}}"
    "{%- for call in m.tool_calls or [] -%}{{- '<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' -}}{%- endfor -%}"
    "{%- else -%}{{- m.content -}}{%- endif -%}{{- '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}{%- endif -%}")
# In the manner of Gemma 4: the generation prompt ends with a block that no conversation has.
DIVERGING = (
    "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\nthought:\\n\\n' -}}{%- endif -%}")
# No newline between header and answer: tokens merge across the boundary.
MERGING = (
    "{%- for m in messages -%}{{- m.role + ': ' + m.content + '<|im_end|>' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- 'assistant: ' -}}{%- endif -%}")


def user(text):
    return {"role": "user", "content": text}


def answer(text, **more):
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "Be brief. Réponds vite."}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Weather of a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}

CHATS = [
    {"prompt": [user("What color is the sky?")], "chosen": [answer("It is blue.")], "rejected": [answer("Green, I think. Why do you ask?")]},
    {"prompt": [SYSTEM, user("2+2?")], "chosen": [answer("4")], "rejected": [answer("5")]},
    {"prompt": [user("Hi"), answer("Hello! é 中文"), user("Again")], "chosen": [answer("Hello again")], "rejected": [answer("Hello, world")]},
    {"prompt": [user("a\n\nb  ")], "chosen": [answer("\n\nnewlines first")], "rejected": [answer(" a space first")]},
    {"chosen": [user("Name a fruit."), answer("Apple")], "rejected": [user("Name a fruit."), answer("Stone")]},
    {"chosen": [SYSTEM, user("Long?"), answer("no"), user("Sure?"), answer("yes")], "rejected": [SYSTEM, user("Long?"), answer("no"), user("Sure?"), answer("not at all")]},
    {"chosen": [user("One"), answer("1"), user("Two"), answer("2")], "rejected": [user("One"), answer("eins"), user("Two"), answer("zwei")]},
    {"chosen": [user("Same"), answer("same")], "rejected": [user("Same"), answer("same")]},
    {"prompt": [user("Several turns")], "chosen": [answer("first"), user("and?"), answer("second")], "rejected": [answer("none")]},
    {"prompt": [user("Continue:"), answer("Once upon")], "chosen": [answer(" a time")], "rejected": [answer(" a mattress")]},
]
THOUGHTS = CHATS + [
    {"prompt": [user("Think")], "chosen": [answer("<think>\nlong\n</think>\n\nDone")], "rejected": [answer("<think>\nshort\n</think>\n\nDone")]},
    {"prompt": [user("Quick")], "chosen": [answer("yes")], "rejected": [answer("no")], "chat_template_kwargs": {"enable_thinking": False}},
    {"prompt": [user("Weather?")], "chosen": [answer("", tool_calls=[CALL])], "rejected": [answer("I do not know")], "tools": [TOOL]},
    {"prompt": [user("Weather?")], "chosen": [answer("Sun")], "rejected": [answer("Rain")], "tools": json.dumps([TOOL])},
]
TEXTS = [
    {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    {"prompt": "The sk", "chosen": "y is blue", "rejected": "ull is white"},
    {"prompt": "The answer: ", "chosen": "forty-two", "rejected": " none"},
    {"prompt": "Ends itself:", "chosen": " done<|im_end|>", "rejected": " done"},
    {"prompt": "é", "chosen": "́ combining", "rejected": "中"},
    {"prompt": "", "chosen": "without a prompt", "rejected": "with none"},
    {"prompt": "line\n", "chosen": "\nnext", "rejected": "next\n"},
    {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    {"chosen": "The sky is bluish", "rejected": "The sky is blue"},
    {"chosen": "The sky is", "rejected": "The sky is é"},
    {"chosen": "Größe: 中国", "rejected": "Größe: 中文"},
    {"prompt": "Same", "chosen": " same", "rejected": " same"},
]
DATED = [{**row, "chat_template_kwargs": {"date_string": "01 Feb 2026"}} for row in CHATS[:9]]
# name: tokenizer, template, max_length, records
CASES = {
    "chatml": ("qwen3", CHATML, 256, CHATS),
    "chatml_cut": ("qwen3", CHATML, 24, CHATS),
    "chatml_smollm2": ("smollm2", CHATML, 256, CHATS),
    "thinking": ("qwen3", THINKING, 512, THOUGHTS),
    "diverging": ("llama3", DIVERGING, 256, CHATS),
    "merging": ("nemo", MERGING, 256, CHATS),
    "headers": ("llama3", (TEMPLATES / "header_tools.jinja").read_text(), 512, DATED),
    # Without system messages: the template drops them where an answer follows, which trainerd refuses.
    "brackets": ("o200k", (TEMPLATES / "instruct_brackets.jinja").read_text(), 256, [CHATS[i] for i in (0, 2, 4, 6)]),
    "texts": ("qwen3", CHATML, 256, TEXTS),
    "texts_bos": ("llama3", CHATML, 256, TEXTS),
    "texts_bos_and_end": ("gpt2", CHATML, 256, TEXTS),
    "texts_space": ("gpt2_prefix", CHATML, 256, TEXTS),
    "texts_cut": ("llama3", CHATML, 9, TEXTS),
}


def pair_of(record, tokenizer, max_length):
    args = types.SimpleNamespace(dataset_num_proc=None, max_length=max_length, truncation_mode="keep_start")
    rows = DPOTrainer._prepare_dataset(types.SimpleNamespace(_tokenizer=tokenizer), datasets.Dataset.from_list([record]), tokenizer, args, "train")
    if len(rows) == 0:
        return None
    batch = DataCollatorForPreference(pad_token_id=0, max_length=max_length)([rows[0]])
    ids = [[token for token, real in zip(row, mask) if real] for row, mask in zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist())]
    prompt = len(rows[0]["prompt_ids"])
    for row, mask, real in zip(ids, batch["completion_mask"].tolist(), batch["attention_mask"].tolist()):
        assert [m for m, r in zip(mask, real) if r] == [int(i >= prompt) for i in range(len(row))]
    return {"prompt": prompt, "chosen": ids[0], "rejected": ids[1]}


def case(name):
    folder, template, max_length, records = CASES[name]
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(TOKENIZERS / folder, pad_token="<|endoftext|>")
    tokenizer.chat_template = template
    rows = []
    for record in records:
        print(name, json.dumps(record)[:100], file=sys.stderr)
        rows.append({"record": record, "pair": pair_of(record, tokenizer, max_length)})
    return {"name": name, "tokenizer": folder, "template": template, "max_length": max_length, "rows": rows}


def main():
    datasets.disable_progress_bars()
    datasets.disable_caching()
    with contextlib.redirect_stdout(sys.stderr):
        cases = [case(name) for name in CASES]
    document = {"made_by": f"trl {trl.__version__}, transformers {transformers.__version__}", "cases": cases}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    print(text.replace('{"record"', '\n{"record"').replace('{"name"', '\n{"name"'))


if __name__ == "__main__":
    main()
